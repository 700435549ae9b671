"""A MongoDB that can be made to fail."""

from pymongo import MongoClient

from config import embedded


class FailingMongoDB(embedded.MongoDB):
    """One that has fail points."""

    def _command(self):
        return [*super()._command(), "--setParameter", "enableTestCommands=1"]

    def client(self):
        """A client of this server alone, whatever set it is in."""
        direct = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
        return MongoClient(direct, timeoutMS=5000, tz_aware=True)

    def command(self, *args, **kwargs):
        """The answer to a command on its `admin` database."""
        with self.client() as client:
            return client.admin.command(*args, **kwargs)
