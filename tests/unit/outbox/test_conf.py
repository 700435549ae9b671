from django.conf import settings as django_settings

from outbox.conf import Settings, conf


def test_defaults_are_among_the_django_settings():
    for name in Settings.__annotations__:
        assert hasattr(django_settings, f"OUTBOX_{name}")


def test_what_a_project_says_is_read_when_it_is_used(settings):
    before = conf.BATCH
    settings.OUTBOX_BATCH = before + 1
    assert before + 1 == conf.BATCH
    del settings.OUTBOX_BATCH
    assert before == conf.BATCH
