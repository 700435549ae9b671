"""The admin's pages over the message store: looking only, and no logic of their own.

Imported by the admin's autodiscovery, so that nothing here is needed where there is no admin.
"""

from django.contrib import admin

from outbox.admin.dispatched import DispatchedMessageAdmin
from outbox.admin.pending import PendingMessageAdmin
from outbox.models import DispatchedMessage, PendingMessage

admin.site.register(PendingMessage, PendingMessageAdmin)
admin.site.register(DispatchedMessage, DispatchedMessageAdmin)
