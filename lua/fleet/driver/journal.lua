-- SPDX-License-Identifier: MIT
-- The journal of a run: a file to which every result is appended as it arrives, so that a later run
-- of the same job resumes where this one stopped, however it stopped. docs/journal.md says what
-- that guarantees.
--
-- The file is the line "moonfleet journal 1" and records, which are only ever appended. A record is
-- its length (4 bytes, little-endian), the complement of the length (a wrong length would make what
-- follows look like the torn end of the file), the first 8 bytes of the SHA-256 of the payload, and
-- the payload, MessagePack values one after another:
--   "job", digest, release, time, name   the first record: whose journal this is
--   "done", key, value                   a result
--   "failed", key, error                 an item that failed for good
--   "begun", key                         an item that was sent and may never be sent again; its
--                                        result closes it
--   "retry"                              forget the failed and the begun items so far
-- An item is known by its key, a digest of the job and the item, wherever it is in the input. Equal
-- items take one record each.

local codec = require("host.codec")
local digest = require("host.digest")
local errors = require("fleet.errors")
local file = require("host.file")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.base.text")

local journal = {}

local VERSION = 1
local MAGIC = ("moonfleet journal %d\n"):format(VERSION)
local HEAD, HEAD_SIZE = "<I4I4c8", 16
local KEY_SIZE, SUM_SIZE = 16, 8
-- A value may be as large as a message; the key and the head are added to it.
local MAX_PAYLOAD = 65 * 1024 * 1024
-- Bytes to read ahead: of all records, and of a single one.
local READ_ALL, READ_ONE = 1024 * 1024, 1024
local MAX_DEPTH = 100 -- of an item, as of any value that is sent
local SYNC_INTERVAL = 1 -- seconds
-- In place of the offset of a record: the item has begun, and has no result.
local BEGUN = 0

-- Failures whose `applied` is "unknown" but that are the item's own: the first ones always, the
-- others after its last attempt. Any other failure (a lost node, an interrupted run) leaves the
-- item to be run.
local FINAL = { poisoned = true, timeout = true }
local FINAL_AT_LAST = { crash = true, memory = true }

--- @class fleet.Journal
--- @field notes string[] for the user, about how it was opened
--- @field err fleet.Error|nil the first failure; everything fails with it from then on
--- @field once boolean items may not run again: `begin` must be called before they are sent
--- @field failures integer failed items that lookup has found
local Journal = {}
Journal.__index = Journal

--- @class fleet.JournalOptions
--- @field path string
--- @field job string what makes results this job's: its source
--- @field name string of the job, for messages
--- @field retries integer how often an item may run again after a loss
--- @field resume boolean|nil resume from what is in the file
--- @field retry_failed boolean|nil run failed items again

local function failure(self, kind, format, ...)
  return errors.format(kind, "journal '%s': %s", text.escape(self.path), format:format(...))
end

-- Records the first failure of the file; returns nil and that.
local function broken(self, err)
  self.err = self.err or failure(self, err.kind, "%s", err.message)
  return nil, self.err
end

-- ---- keys ----

-- Returns bytes that are the same for equal items only; nil for what cannot be sent. Unlike in
-- MessagePack, the keys of tables are in order; unlike in JSON, integers and floats, text and
-- bytes, 1 and "1" differ. Strings compare byte by byte because the program stays in the C locale.
local function canonical(value, depth, seen)
  local kind = math.type(value) or type(value)
  if kind == "string" then return string.pack("<c1s8", "s", value) end
  if kind == "integer" then return string.pack("<c1i8", "i", value) end
  if kind == "float" then
    return value ~= value and "n" or string.pack("<c1d", "f", value)
  elseif kind == "boolean" then
    return value and "y" or "z"
  elseif kind ~= "table" or depth == MAX_DEPTH or seen[value] then
    return nil
  end
  seen[value] = true
  local entries = {}
  for k, v in next, value do
    local key, bytes = canonical(k, depth + 1, seen), canonical(v, depth + 1, seen)
    if not key or not bytes then return nil end
    entries[#entries + 1] = key .. bytes
  end
  table.sort(entries)
  return "{" .. table.concat(entries) .. "}"
end

local function key_of(self, item)
  local bytes = type(item) == "string" and "s" .. item or canonical(item, 0, {})
  return bytes and digest.sha256_bytes(self.job .. bytes, KEY_SIZE)
end

-- ---- records ----

local function checksum(payload)
  return digest.sha256_bytes(payload, SUM_SIZE)
end

-- The bytes of a record; or nil and an error.
local function record(...)
  local payload, err = codec.encode_list({ ... }, 1, select("#", ...), MAX_PAYLOAD, "result")
  if not payload then return nil, err end
  return string.pack(HEAD, #payload, ~#payload & 0xFFFFFFFF, checksum(payload)) .. payload
end

-- Appends records. Nothing is appended after a failure, so the file ends with whole records, or
-- with one that is recognised as torn.
local function append(self, bytes)
  if self.err then return nil, self.err end
  local ok, err = self.file:append(bytes)
  if not ok then return broken(self, err) end
  self.unsynced = true
  return true
end

-- Returns a function(at, n) that returns bytes of the file that contain the n from offset `at`, or
-- as many as there are, and their place in these bytes; nil when the file cannot be read.
local function reader(self, read_ahead)
  local bytes, base = "", 0
  return function(at, n)
    if at < base or at + n > base + #bytes then
      local got, err = self.file:read(at, math.max(n, read_ahead))
      if not got then return broken(self, err) end
      bytes, base = got, at
    end
    return bytes, at - base + 1
  end
end

-- Reads the record at an offset and returns its payload, and where the next one begins; or nil and
-- "torn" (the file ends inside it), "damaged" or "unread", and, if at least the length is known,
-- where the next one begins.
local function read_record(read, at)
  local bytes, from = read(at, HEAD_SIZE)
  if not bytes then return nil, "unread" end
  if #bytes - from + 1 < HEAD_SIZE then return nil, "torn" end
  local length, complement, sum = string.unpack(HEAD, bytes, from)
  if length ~= ~complement & 0xFFFFFFFF or length > MAX_PAYLOAD then return nil, "damaged" end
  local size = HEAD_SIZE + length
  bytes, from = read(at, size)
  if not bytes then return nil, "unread" end
  if #bytes - from + 1 < size then return nil, "torn" end
  local payload = bytes:sub(from + HEAD_SIZE, from + size - 1)
  if checksum(payload) ~= sum then return nil, "damaged", at + size end
  return payload, at + size
end

-- ---- the index ----
--
-- It maps the first half of a key, as an integer (an entry takes 25 to 50 bytes, with strings it
-- would take 100), to the offset of the record, negative for a failure, or to a list of these. The
-- record has the whole key.

local function slot_of(key)
  return (string.unpack("<i8", key))
end

local function add(index, slot, offset)
  local old = index[slot]
  if old == nil then
    index[slot] = offset
  elseif type(old) == "table" then
    old[#old + 1] = offset
  else
    index[slot] = { old, offset }
  end
end

-- Removes and returns the first entry of a slot for which `accept` holds.
local function take(index, slot, accept)
  local entry = index[slot]
  if type(entry) ~= "table" then
    if entry == nil or not accept(entry) then return nil end
    index[slot] = nil
    return entry
  end
  for i, offset in ipairs(entry) do
    if accept(offset) then
      table.remove(entry, i)
      if #entry == 1 then index[slot] = entry[1] end
      return offset
    end
  end
  return nil
end

local function any() return true end
local function is_begun(offset) return offset == BEGUN end
local function is_open(offset) return offset <= 0 end

-- Forgets items that failed or only began. Returns whether there were any.
local function forget_failed(index)
  local found = false
  for slot in next, index do
    while take(index, slot, is_open) do found = true end
  end
  return found
end

local function index_record(self, payload, offset)
  local what, at = codec.decode(payload)
  if what == "retry" then
    forget_failed(self.index)
    return
  end
  local slot = slot_of(codec.decode(payload, at))
  if what == "begun" then
    add(self.index, slot, BEGUN)
  else
    take(self.index, slot, is_begun)
    add(self.index, slot, what == "failed" and -offset or offset)
  end
end

-- ---- opening ----

local function write_header(self, options, size)
  local ok, err = size == 0, nil
  if size > 0 then ok, err = self.file:truncate(0) end
  if not ok then return broken(self, err) end
  return append(self, MAGIC .. record("job", self.job, sys.version, os.time(), options.name))
end

-- Reads the beginning of a file that is not empty. Returns where the record after it begins, and
-- the values of the job's record; nil when that itself is torn, so that nothing is lost; or nil and
-- an error.
local function read_header(self, read, size)
  local bytes = read(0, #MAGIC)
  if not bytes then return nil, self.err end
  if bytes:sub(1, #MAGIC) == MAGIC:sub(1, size) then
    local payload, stop = read_record(read, #MAGIC)
    if payload then return stop, codec.decode_all(payload) end
    if stop ~= "damaged" then return nil, self.err end
  elseif bytes:find("^moonfleet journal %d") then
    return nil, failure(self, "usage", "it has another format than this program's; resume with the "
      .. "program that made it, or give another file")
  end
  return nil, failure(self, "usage", "the file is not a journal; give another name")
end

local function check_job(self, header, name)
  if header[2] == self.job then return true end
  local of = text.escape(tostring(header[5]))
  local which = of == text.escape(name) and of .. " as it was before it was changed" or of
  return nil, failure(self, "usage", "it belongs to another job (%s); give another file, or run "
    .. "the script that it was made with", which)
end

local function load_records(self, read, at, size)
  while at < size do
    local payload, next_at, stop = read_record(read, at)
    if payload then
      index_record(self, payload, at)
      at = next_at
    elseif next_at == "torn" or stop == size then
      self.notes[#self.notes + 1] = ("the last record of the journal was torn (%d bytes); its item "
        .. "runs again"):format(size - at)
      local ok, err = self.file:truncate(at)
      if not ok then return broken(self, err) end
      return true
    elseif next_at == "damaged" then
      return nil, failure(self, "usage", "the record at byte %d is damaged, and more follows it; "
        .. "to keep what comes before and run the rest again: truncate -s %d FILE", at, at)
    else
      return nil, self.err
    end
  end
  return true
end

-- Loads what is in the file, or begins it.
local function load(self, options)
  local size, err = self.file:size()
  if not size then return broken(self, err) end
  local read = reader(self, READ_ALL)
  local start, header
  if size > 0 then
    start, header = read_header(self, read, size)
    if not start and header then return nil, header end
  end
  if not start or start == size then -- nothing to lose, nothing to resume
    if options.resume then
      self.notes[1] = "the journal is empty; every item will run"
    end
    return write_header(self, options, size)
  elseif not options.resume then
    return nil, failure(self, "usage",
      "it has results of an earlier run; resume that with --resume, or give another file")
  end
  local ok
  ok, err = check_job(self, header, options.name)
  if ok then ok, err = load_records(self, read, start, size) end
  if ok and options.retry_failed and forget_failed(self.index) then
    return append(self, record("retry"))
  end
  return ok, err
end

--- Opens a journal, or creates it, and locks it against other processes. Fails with kind "usage"
--- when it cannot be used like this: it has results and is not to be resumed, belongs to another
--- job, is in use by another run, is damaged, is not a journal, or is a folder; with "output" or
--- "input" when the file cannot be opened.
---@param options fleet.JournalOptions
---@return fleet.Journal|nil
---@return fleet.Error|nil
function journal.open(options)
  local self = setmetatable({
    path = options.path, job = digest.sha256_bytes(options.job),
    retries = options.retries, once = options.retries == 0,
    index = {}, notes = {}, failures = 0, unsynced = false, closed = false,
    resumes = false, -- the index had entries when it was opened
  }, Journal)
  local ok, err
  local about = file.about(options.path)
  if about and about.type == "folder" then
    return nil, failure(self, "usage", "it is a folder; name a file")
  end
  self.file, err = file.open(options.path)
  if not self.file then return broken(self, err) end
  ok, err = self.file:lock()
  if ok then
    ok, err = load(self, options)
  elseif ok == nil then
    ok, err = broken(self, err)
  else
    err = failure(self, "usage", "another run is using it; wait until that ends, or give another "
      .. "file")
  end
  if ok then
    self.resumes = next(self.index) ~= nil
    return self
  end
  self.file:close()
  return nil, err
end

-- ---- during the run ----

local function failed(self, err, bytes)
  self.failures = self.failures + 1
  return false, errors.wrap(err), bytes
end

--- Returns the outcome of an item that is in the journal, each record once: whether it succeeded,
--- its value or error, and the size of that; nil when the item is to be run; nil and an error when
--- the journal cannot be read.
---@param item any
---@return boolean|nil ok
---@return any value
---@return integer|nil bytes
function Journal:lookup(item)
  if not self.resumes then return nil end
  local key = key_of(self, item)
  local offset = key and take(self.index, slot_of(key), any)
  if not offset then return nil end
  if offset == BEGUN then
    return failed(self, {
      kind = "lost", applied = "unknown",
      message = "an earlier run was interrupted when it had the item; --retry-failed runs it again",
    }, 0)
  end
  local payload = read_record(reader(self, READ_ONE), math.abs(offset))
  if not payload then return broken(self, { kind = "input", message = "cannot read a record" }) end
  local fields = codec.decode_all(payload)
  if fields[2] ~= key then return nil end -- another item, however unlikely
  if fields[1] == "done" then return true, fields[3], #payload end
  return failed(self, fields[3], #payload)
end

--- Returns a number in [0, 1) that depends only on the item and the job: a sample drawn with it is
--- the same when the run is resumed.
---@param item any
---@return number
function Journal:chance(item)
  local key = key_of(self, item)
  return key and string.unpack("<I6", key) / 2 ^ 48 or 0
end

--- Records that items are about to be sent for the first time, so that a run that is killed now
--- leaves them as begun. Must be called when `once` is set.
---@param items any[]
---@return true|nil
---@return fleet.Error|nil
function Journal:begin(items)
  local records = {}
  for _, item in ipairs(items) do
    local key = key_of(self, item)
    if key then records[#records + 1] = record("begun", key) end
  end
  return append(self, table.concat(records))
end

-- Whether a failed item is not to be run again.
local function is_final(self, err)
  if err.applied == "no" then return false end
  if self.once or FINAL[err.kind] then return true end
  if err.applied ~= "unknown" then return err.kind ~= "cancelled" end
  return FINAL_AT_LAST[err.kind] and (err.attempt or 1) > self.retries
end

--- Records the outcome of an item that has run; the kernel has it when this returns. A failure that
--- is not the item's own is not kept, so that the item runs when the run is resumed.
---@param item any
---@param ok boolean
---@param value any its result, or its error
---@return true|nil
---@return fleet.Error|nil
function Journal:append(item, ok, value)
  if self.err then return nil, self.err end
  if not ok and not is_final(self, value) then return true end
  local key = key_of(self, item)
  if not key then return true end -- it cannot have run either
  local bytes, err = record(ok and "done" or "failed", key, value)
  if not bytes then return broken(self, err) end
  ok, err = append(self, bytes)
  sys.fault("journal")
  return ok, err
end

--- Syncs what was written to the disk; until then it survives the end of this process, but not of
--- the machine. Takes as long as the disk takes.
---@return true|nil
---@return fleet.Error|nil
function Journal:sync()
  if self.err then return nil, self.err end
  if not self.unsynced then return true end
  self.unsynced = false
  local ok, err = self.file:sync()
  if not ok then return broken(self, err) end
  return true
end

--- Syncs every second until the journal is closed or fails; runs in a task of its own.
function Journal:keep_synced()
  while not self.closed and self:sync() do task.sleep(SYNC_INTERVAL) end
end

--- Syncs and unlocks the file. Idempotent.
---@return true|nil
---@return fleet.Error|nil the first failure
function Journal:close()
  if self.closed then return not self.err or nil, self.err end
  local ok, err = self:sync()
  self.closed = true
  self.file:close()
  return ok, err
end

-- A variable with the attribute <close> closes the journal at the end of its block.
Journal.__close = Journal.close

return journal
