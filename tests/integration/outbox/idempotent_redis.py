"""A stand-in for Redis 8.6, which no package brings along: a bundled Redis behind a small server.

Not the real thing: the server speaks Redis' protocol, translates `XADD … IDMP`, `XCFGSET` and
`XINFO STREAM` into a script for the Redis 6.2 behind it, and passes on all else. What they answer
and refuse is taken from the tests that Redis 8.6 has of them itself (`tests/unit/type/stream.tcl`
in redis/redis: "XADD IDMP …", "XCFGSET …", "XINFO STREAM shows …") and from its documentation
(develop/data-types/streams/idempotency). Ids don't expire here.

    XADD stream IDMP producer id * field value     the entry's id; a second time, the same id again
    XADD stream NOMKSTREAM IDMP …                  nil if there is no such stream
    XCFGSET stream IDMP-DURATION s IDMP-MAXSIZE n  OK; forgets the ids; "no such key"
    XINFO STREAM stream                            … idmp-duration 100 idmp-maxsize 100
"""

import socket
import socketserver
import threading

# In front of each script, so that its own `redis.pcall` knows IDMP as well.
PRELUDE = """
local server = redis
local function settings(key)
  local found = server.call('HMGET', 'idmp:settings:' .. key, 'IDMP-DURATION', 'IDMP-MAXSIZE')
  return tonumber(found[1] or 100), tonumber(found[2] or 100)
end
local function idmp(key, only_if_there, producer, id, star, ...)
  if id == '' then return server.error_reply('ERR IDMP requires a non-empty idempotent ID') end
  if star ~= '*' then
    return server.error_reply('ERR IDMP/IDMPAUTO can be used only with auto-generated IDs')
  end
  if only_if_there and server.call('EXISTS', key) == 0 then return false end
  local ids, order = 'idmp:ids:' .. key .. ':' .. producer, 'idmp:order:' .. key .. ':' .. producer
  local known = server.call('HGET', ids, id)
  if known then return known end
  local added = server.pcall('XADD', key, '*', ...)
  if type(added) == 'table' and added.err then return added end
  server.call('HSET', ids, id, added)
  server.call('SADD', 'idmp:keys:' .. key, ids, order)
  local _, most = settings(key)
  if server.call('RPUSH', order, id) > most then
    server.call('HDEL', ids, server.call('LPOP', order))
  end
  return added
end
local function xadd(key, first, ...)
  if first == 'IDMP' then return idmp(key, false, ...) end
  local second = ...
  if first == 'NOMKSTREAM' and second == 'IDMP' then return idmp(key, true, select(2, ...)) end
  return server.pcall('XADD', key, first, ...)
end
local function xcfgset(key, ...)
  if server.call('EXISTS', key) == 0 then return server.error_reply('ERR no such key') end
  local kept = server.call('SMEMBERS', 'idmp:keys:' .. key)
  if #kept > 0 then server.call('DEL', unpack(kept)) end
  server.call('HSET', 'idmp:settings:' .. key, ...)
  return server.status_reply('OK')
end
local function xinfo(_, key)
  local info = server.pcall('XINFO', 'STREAM', key)
  if info.err then return info end
  local duration, most = settings(key)
  for _, one in ipairs({'idmp-duration', duration, 'idmp-maxsize', most}) do
    info[#info + 1] = one
  end
  return info
end
local translated = {XADD = xadd, XCFGSET = xcfgset, XINFO = xinfo}
local function pcall(command, ...)
  if translated[command] then return translated[command](...) end
  return server.pcall(command, ...)
end
local redis = {
  pcall = pcall,
  call = function(...)
    local answer = pcall(...)
    if type(answer) == 'table' and answer.err then error(answer.err) end
    return answer
  end,
}
"""

TRANSLATED = [b"XADD", b"XCFGSET", b"XINFO"]


class IdempotentRedis(socketserver.ThreadingTCPServer):
    """`commands` are those that it was sent. `idempotent` may be taken from it, as by a failover
    to an older server."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), _Connection)
        self.behind = behind
        self.commands = []
        self.idempotent = True
        self.url = f"redis://127.0.0.1:{self.server_address[1]}/0?protocol=2"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    def handle(self):
        with socket.create_connection(self.server.behind) as behind:
            threading.Thread(target=self._answer, args=(behind,), daemon=True).start()
            while words := self._read():
                self.server.commands.append(words)
                behind.sendall(_packed(self._translated(words)))

    def _answer(self, behind):
        while data := behind.recv(65536):
            self.connection.sendall(data)

    def _read(self):
        if not (line := self.rfile.readline()):
            return None
        words = []
        for _ in range(int(line[1:])):
            length = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(length + 2)[:-2])
        return words

    def _translated(self, words):
        if not self.server.idempotent:
            return words
        command = words[0].upper()
        if command == b"EVAL":
            return [words[0], PRELUDE.encode() + words[1], *words[2:]]
        if command in TRANSLATED:
            script = PRELUDE + "return redis.pcall(unpack(ARGV))"
            return [b"EVAL", script.encode(), b"0", command, *words[1:]]
        return words


def _packed(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
