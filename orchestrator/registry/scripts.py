"""What must happen atomically on the server, as Lua scripts.

Scripts, not a Function library: EVALSHA names a script by its content, so two
versions of this program share a server during a rolling upgrade, and a server
that came back empty is taught the script again by the call that missed it.

Invariants they keep together:
- A write names its holder ("<epoch> <replica>") and changes nothing unless
  that holder has the slot; all but a sweep also need the lease to live.
- Whoever takes a slot changes its holder first, so an older epoch is fenced
  from then on; the slot answers lookups only once its `held` set is empty.
- A bit of a slot is set only for hashes in the slot's `held` set, so sweeping
  that set leaves the slot clean without looking at any other key.
- While the leader's key lives, only its candidate changes it; whoever writes
  it anew takes a term above every one before.

All keys are declared (KEYS) and no script asks for the time; leases end by
the server's own expiry. Needs Redis 7 or any Valkey.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that EVALSHA knows it by."""

    source: str
    sha: str


def _script(source: str) -> Script:
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())


# Takes a slot for a replica: its own former one, else the lowest whose lease has ended.
# Answers {slot, epoch}, or nil when every slot is taken. The lease says "joining".
CLAIM = _script("""#!lua
local epoch_key, slots_key, holders_key = KEYS[1], KEYS[2], KEYS[3]
local replica, epoch_min, lease_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local first_lease = 4

local chosen
local pairs_flat = redis.call('HGETALL', holders_key)
for i = 1, #pairs_flat, 2 do
  if string.match(pairs_flat[i + 1], '^%d+ (.*)$') == replica then
    chosen = tonumber(pairs_flat[i])
  end
end
for slot = 0, #KEYS - first_lease do
  if chosen then break end
  if redis.call('EXISTS', KEYS[first_lease + slot]) == 0 then chosen = slot end
end
if not chosen then return nil end

if tonumber(redis.call('GET', epoch_key) or 0) < epoch_min - 1 then
  redis.call('SET', epoch_key, string.format('%.0f', epoch_min - 1))
end
local epoch = redis.call('INCR', epoch_key)
local holder = string.format('%.0f %s', epoch, replica)
redis.call('HSET', holders_key, chosen, holder)
redis.call('SET', KEYS[first_lease + chosen], 'joining ' .. holder, 'PX', lease_ms)
if tonumber(redis.call('GET', slots_key) or 0) <= chosen then
  redis.call('SET', slots_key, chosen + 1)
end
return {chosen, epoch}
""")

# Opens a swept slot: from here on the replica is in every answer.
ENTER = _script("""#!lua
local holders_key, lease_key, held_key, records_key, numbers_key = unpack(KEYS)
local slot, holder, record, lease_ms = unpack(ARGV)

if redis.call('HGET', holders_key, slot) ~= holder then return 0 end
if redis.call('EXISTS', lease_key) == 0 then return 0 end
if redis.call('EXISTS', held_key) == 1 then return redis.error_reply('slot is not clean') end
redis.call('HSET', records_key, slot, record)
redis.call('HSET', numbers_key, slot, '0')
redis.call('SET', lease_key, 'ready ' .. holder, 'PX', lease_ms)
return 1
""")

RENEW = _script("""#!lua
local holders_key, lease_key = KEYS[1], KEYS[2]
local slot, holder, lease, lease_ms = unpack(ARGV)

if redis.call('HGET', holders_key, slot) ~= holder then return 0 end
if redis.call('EXISTS', lease_key) == 0 then return 0 end
redis.call('SET', lease_key, lease, 'PX', lease_ms)
return 1
""")

LEAVE = _script("""#!lua flags=allow-oom
local holders_key, lease_key, records_key, numbers_key = unpack(KEYS)
local slot, holder = ARGV[1], ARGV[2]

if redis.call('HGET', holders_key, slot) ~= holder then return 0 end
redis.call('DEL', lease_key)
redis.call('HDEL', records_key, slot)
redis.call('HDEL', numbers_key, slot)
return 1
""")

# Answers {1, term} to the one that leads now, else {0, term of the one that does}.
LEAD = _script("""#!lua
local leader_key, term_key = KEYS[1], KEYS[2]
local candidate, address, term_min, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local term
local leader = redis.call('GET', leader_key)
if leader then
  local holder
  term, holder = string.match(leader, '^(%d+) (%S+) ')
  term = tonumber(term)
  if holder ~= candidate then return {0, term} end
else
  if tonumber(redis.call('GET', term_key) or 0) < term_min - 1 then
    redis.call('SET', term_key, string.format('%.0f', term_min - 1))
  end
  term = redis.call('INCR', term_key)
end
local value = string.format('%.0f %s %s', term, candidate, address)
redis.call('SET', leader_key, value, 'PX', lease_ms)
return {1, term}
""")

RESIGN = _script("""#!lua flags=allow-oom
local leader = redis.call('GET', KEYS[1])
if leader and string.match(leader, '^%d+ (%S+) ') == ARGV[1] then redis.call('DEL', KEYS[1]) end
""")

# Replaces all knobs. Answers 0, and changes nothing, under a term that is not the newest.
KEEP_POLICY = _script("""#!lua
local term_key, policy_key = KEYS[1], KEYS[2]

if redis.call('GET', term_key) ~= ARGV[1] then return 0 end
redis.call('DEL', policy_key)
for i = 2, #ARGV, 2 do redis.call('HSET', policy_key, ARGV[i], ARGV[i + 1]) end
return 1
""")

_CHANGE_BLOCKS = """
local function hashes(first, last, root_length)
  local names = {}
  for i = first, last do names[#names + 1] = string.sub(KEYS[i], root_length + 1) end
  return names
end

local function clear(held_key, offset, first, last, root_length)
  if first > last then return end
  for i = first, last do
    redis.call('SETBIT', KEYS[i], offset, 0)
    if redis.call('BITCOUNT', KEYS[i]) == 0 then redis.call('DEL', KEYS[i]) end
  end
  redis.call('SREM', held_key, unpack(hashes(first, last, root_length)))
end

local function set(held_key, offset, first, last, root_length)
  if first > last then return end
  redis.call('SADD', held_key, unpack(hashes(first, last, root_length)))
  for i = first, last do redis.call('SETBIT', KEYS[i], offset, 1) end
end
"""

# Clears a piece of what a former holder left. Keeps the lease of a joiner that sweeps.
SWEEP = _script(f"""#!lua flags=allow-oom
{_CHANGE_BLOCKS}
local holders_key, lease_key, held_key = KEYS[1], KEYS[2], KEYS[3]
local slot, holder, lease_ms, offset, root_length = unpack(ARGV)

if redis.call('HGET', holders_key, slot) ~= holder then return 0 end
redis.call('PEXPIRE', lease_key, lease_ms)
clear(held_key, offset, 4, #KEYS, root_length)
return 1
""")

# Applies one piece of a batch; the last piece counts the batch as applied.
# Answers 'applied', 'known' (an older number) or 'refused' (no lease, or a gap).
# A complete batch cut short leaves a gap, so that it cannot pass for whole.
PUBLISH = _script(f"""#!lua
{_CHANGE_BLOCKS}
local holders_key, lease_key, held_key, numbers_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local slot, holder, offset, root_length = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local number, removed = tonumber(ARGV[5]), tonumber(ARGV[6])
local complete, last = ARGV[7] == '1', ARGV[8] == '1'
local first_block = 5

if redis.call('HGET', holders_key, slot) ~= holder then return 'refused' end
if redis.call('EXISTS', lease_key) == 0 then return 'refused' end
local expected, gap = string.match(redis.call('HGET', numbers_key, slot), '^(%d+)(.*)$')
if number < tonumber(expected) then return gap == '' and 'known' or 'refused' end
if not complete and (gap ~= '' or number > tonumber(expected)) then
  redis.call('HSET', numbers_key, slot, expected .. ' gap')
  return 'refused'
end

if complete then redis.call('HSET', numbers_key, slot, expected .. ' gap') end
clear(held_key, offset, first_block, first_block + removed - 1, root_length)
set(held_key, offset, first_block + removed, #KEYS, root_length)
if last then redis.call('HSET', numbers_key, slot, string.format('%.0f', number + 1)) end
return 'applied'
""")
