"""The admin's pages over the message store, and no logic of their own.

Imported by the admin's autodiscovery, so that nothing here is needed where there is no admin.
"""

from django.contrib import admin

from outbox.admin.dead_letters import DeadLetterAdmin
from outbox.admin.dispatched import DispatchedMessageAdmin
from outbox.admin.overview import OverviewAdmin
from outbox.admin.pending import PendingMessageAdmin
from outbox.admin.waiting import WaitingEventAdmin
from outbox.models import DeadLetter, DispatchedMessage, Overview, PendingMessage, WaitingEvent

admin.site.register(Overview, OverviewAdmin)
admin.site.register(PendingMessage, PendingMessageAdmin)
admin.site.register(DispatchedMessage, DispatchedMessageAdmin)
admin.site.register(WaitingEvent, WaitingEventAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
