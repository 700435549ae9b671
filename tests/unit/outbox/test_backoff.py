from outbox import backoff


def test_the_wait_doubles_with_each_failure_up_to_a_bound_and_is_spread_over_all_of_it(settings):
    settings.OUTBOX_BACKOFF, settings.OUTBOX_BACKOFF_MAX = 1.0, 60.0
    for attempts, most in [(1, 1), (2, 2), (5, 16), (7, 60), (10_000, 60)]:
        waits = [backoff.delay(attempts) for _ in range(500)]
        assert all(0 <= wait <= most for wait in waits)
        assert min(waits) < most * 0.1
        assert max(waits) > most * 0.9
