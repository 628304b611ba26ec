-- SPDX-License-Identifier: MIT
-- One run, of checksums or of a job, kept in a folder: the items and the results as JSON Lines
-- (items.jsonl, results.jsonl), and what is shown in lists (run.json). In memory there are the last
-- rows only. A run that was cut short is resumed with the items that have no result.

local errors = require("fleet.errors")
local file = require("host.file")
local input = require("fleet.run.input")
local json = require("fleet.json")
local reasons = require("fleet.run.reasons")
local stream = require("host.stream")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.base.text")
local work = require("fleet.web.work")

local run = {}

-- Rows that are kept in memory, and shown.
run.RECENT = 200
-- Results wait for this long, or until there are so many bytes of them, before they are written. It
-- is also the interval at which live pages are sent what is new: all at the same time, so that most
-- of them are sent the same.
local INTERVAL, WRITE_BYTES = 0.25, 64 * 1024
local MAX_REASONS = 5

--- @class fleet.WebRow
--- @field n integer number of the item
--- @field item any
--- @field value any
--- @field error fleet.Error|nil
--- @field node string|nil that the item ran on

--- @class fleet.WebRun
--- @field id string
--- @field kind "checksums"|"job"
--- @field script string|nil path of the script of a job
--- @field source string|nil digest of its text, which must not change
--- @field conclusion string|nil JSON of what the job made of all results
--- @field title string
--- @field created integer seconds since 1970
--- @field total integer items
--- @field state "running"|"done"|"stopped"|"interrupted"|"failed"
--- @field message string|nil why it has failed
--- @field ok integer
--- @field failed integer
--- @field elapsed number seconds
--- @field nodes table<string, integer> results by node
--- @field rows integer number of rows so far
--- @field recent table<integer, fleet.WebRow> the last of them, by number
--- @field changed host.Event
--- @field on_result fun()|nil is called for each result that comes
local Run = {}
Run.__index = Run

local function new(folder, id)
  return setmetatable({
    folder = folder, id = id, kind = "checksums", title = "", created = os.time(), total = 0,
    state = "interrupted", ok = 0, failed = 0, elapsed = 0, nodes = {}, rows = 0, recent = {},
    reasons = reasons.new(), changed = task.event(),
  }, Run)
end

local function path(self, name) return ("%s/%s"):format(self.folder, name) end

-- Puts a row into the counts, and among those that are shown.
local function count(self, row)
  self.rows = self.rows + 1
  self.recent[self.rows] = row
  self.recent[self.rows - run.RECENT] = nil
  if row.error then
    self.failed = self.failed + 1
    self.reasons:add(row.item, row.error)
  else
    self.ok = self.ok + 1
  end
  if row.node then self.nodes[row.node] = (self.nodes[row.node] or 0) + 1 end
end

-- ---- the folder ----

-- What is kept of a run besides its items and results.
local KEPT = {
  "kind", "script", "source", "conclusion", "title", "created", "total", "state", "message",
  "elapsed",
}

-- Whole or not at all: a new file takes the place of the old one.
local function save(self)
  local content = {}
  for _, name in ipairs(KEPT) do content[name] = self[name] end
  local temporary = path(self, "run.json.new")
  os.remove(temporary)
  local ok, err = file.create(temporary, json.encode(content))
  if not ok then return nil, err end
  local moved, message = os.rename(temporary, path(self, "run.json"))
  if not moved then return nil, errors.format("output", "cannot write %s", message) end
  return true
end

-- Writes the items without having all of them in memory. Returns true, or nil and an error.
local function write_items(self, source)
  local items, err = file.open(path(self, "items.jsonl"))
  if not items then return nil, err end
  local lines, waiting = {}, 0
  local function flush()
    local bytes = table.concat(lines)
    lines, waiting = {}, 0
    return items:append(bytes)
  end
  local ok, item, why = true, source()
  while ok and item ~= nil and not why do
    local line
    line, why = json.encode(item)
    if line then
      lines[#lines + 1] = line .. "\n"
      waiting = waiting + #line
      self.total = self.total + 1
      if waiting >= WRITE_BYTES then
        ok, err = flush()
        task.yield() -- other pages are answered meanwhile
      end
      if ok then item, why = source() end
    end
  end
  if ok and not why then ok, err = flush() end
  items:close()
  if why then return nil, why end
  return ok, err
end

--- Makes a run of items, which are not run yet. Waits. The folder is removed when that fails.
---@param folder string of its own, which does not exist
---@param id string
---@param about {kind: string, title: string, script: string|nil, source: string|nil}
---@param source fleet.ItemSource
---@return fleet.WebRun|nil
---@return fleet.Error|nil
function run.create(folder, id, about, source)
  local self = new(folder, id)
  for name, value in pairs(about) do self[name] = value end
  local ok, err = file.make_folder(folder)
  if not ok then return nil, err end
  ok, err = file.create(path(self, "items.jsonl"), "")
  if ok then ok, err = write_items(self, source) end
  if ok then ok, err = file.create(path(self, "results.jsonl"), "") end
  if ok then ok, err = save(self) end
  if ok then return self end
  self:remove()
  return nil, err
end

local function reader(name)
  local from = stream.open(name, "r")
  return function()
    if not from then return nil end
    local bytes, err = from:read()
    if not bytes then from:close() end
    return bytes, err
  end
end

--- Iterates over the rows that are written.
---@return fun(): fleet.WebRow|nil
function Run:results()
  return input.jsonl(reader(path(self, "results.jsonl")), "results.jsonl", json.decode)
end

-- The last line may have been cut off when the program was killed.
local function drop_half_line(self)
  local results = file.open(path(self, "results.jsonl"))
  if not results then return end
  local size = results:size()
  local at = size
  while at > 0 do
    local from = math.max(0, at - 4096)
    local piece = results:read(from, at - from)
    local last = piece:match("^.*()\n")
    if last then
      at = from + last
      break
    end
    at = from
  end
  if at < size then results:truncate(at) end
  results:close()
end

--- Opens the run in a folder. One that was running when the program ended is "interrupted".
---@param folder string
---@param id string
---@return fleet.WebRun|nil nil when there is none
function run.open(folder, id)
  local self = new(folder, id)
  local handle = io.open(path(self, "run.json"), "rb")
  local kept = handle and json.decode(handle:read("a"))
  if handle then handle:close() end
  if type(kept) ~= "table" then return nil end
  for _, name in ipairs(KEPT) do self[name] = kept[name] end
  if self.state == "running" then self.state = "interrupted" end
  drop_half_line(self)
  for row in self:results() do count(self, row) end
  return self
end

--- Removes the run and its folder.
function Run:remove()
  for _, name in ipairs({ "items.jsonl", "results.jsonl", "run.json", "run.json.new" }) do
    os.remove(path(self, name))
  end
  os.remove(self.folder)
end

-- ---- running ----

local function flush(self)
  if #self.lines == 0 then return true end
  local bytes = table.concat(self.lines)
  self.lines, self.waiting = {}, 0
  return self.output:append(bytes)
end

local function add(self, row)
  local line, err
  if not row.error then
    line, err = json.encode_record("n", row.n, "item", row.item, "value", row.value,
      "node", row.node)
    if not line then row.value, row.error = nil, err end
  end
  count(self, row)
  if self.on_result then self.on_result() end
  line = line
    or json.encode_record("n", row.n, "item", row.item, "error", row.error, "node", row.node)
  self.lines[#self.lines + 1] = line .. "\n"
  self.waiting = self.waiting + #line
  if self.waiting >= WRITE_BYTES then return flush(self) end
  return true
end

-- A source of the items without a result. `numbers` gets the number of each, by the number that the
-- map gives it: they are counted in the order in which they are taken.
local function remaining(self, numbers)
  local done, taken = {}, 0
  for row in self:results() do done[row.n] = true end
  local n = 0
  local items = input.jsonl(reader(path(self, "items.jsonl")), "items.jsonl", json.decode)
  return function()
    while true do
      local item, err = items()
      if item == nil then return nil, err end
      n = n + 1
      if not done[n] then
        taken = taken + 1
        numbers[taken] = n
        return item, err
      end
    end
  end
end

-- Learns on which node each item ran: results pass by here on their way.
local function watch_nodes(map, nodes)
  local scheduler = map.scheduler
  map.sink = {
    result = function(_, worker, id, ...)
      nodes[id] = worker.session.connection.name
      return scheduler:result(worker, id, ...)
    end,
  }
end

local function run_map(self, driver)
  local numbers, nodes = {}, {}
  return work.run(driver, self, remaining(self, numbers), function(item, ok, value, id)
    local row = { n = numbers[id], item = item, node = nodes[id] }
    numbers[id], nodes[id] = nil, nil
    if ok then row.value = value else row.error = value end
    return add(self, row)
  end, function(map)
    self.map = map
    watch_nodes(map, nodes)
    if self.stopping then map:stop() end
  end)
end

local function keep_written(self)
  while self.state == "running" do
    task.sleep(INTERVAL)
    if self.state == "running" then
      self.elapsed = self.before + sys.now() - self.began
      flush(self)
      self.changed:notify()
    end
  end
end

local function finish(self, ok, err)
  local written, why = flush(self)
  self.output:close()
  self.elapsed = self.before + sys.now() - self.began
  if not written then ok, err = nil, why end
  if not ok and not self.stopping then
    self.state, self.message = "failed", err.message
  else
    self.state = self.rows >= self.total and "done" or self.stopping or "stopped"
  end
  if self.state == "done" then
    self.conclusion, err = work.conclude(self)
    if err then self.message = err.message end
  end
  local saved, fault = save(self)
  if not saved then self.state, self.message = "failed", fault.message end
  self.map = nil
  self.changed:notify()
  collectgarbage() -- a large run leaves a lot of it
end

--- Runs the items that have no result, in a task of its own.
---@param open fun(): fleet.Driver|nil, fleet.Error|nil gives the driver; may wait
---@return true|nil
---@return fleet.Error|nil
function Run:start(open)
  if self.state == "running" then return true end
  local output, err = file.open(path(self, "results.jsonl"))
  if not output then return nil, err end
  self.output, self.lines, self.waiting = output, {}, 0
  self.state, self.message, self.stopping = "running", nil, nil
  self.began, self.before = sys.now(), self.elapsed
  local saved
  saved, err = save(self)
  if not saved then
    self.state = "interrupted"
    return nil, err
  end
  task.spawn(keep_written, self)
  task.spawn(function()
    local driver, why = open()
    if not driver then return finish(self, nil, why) end
    local fine, ok, fault = pcall(run_map, self, driver)
    if not fine then ok, fault = nil, errors.format("raise", "%s", text.one_line(tostring(ok))) end
    finish(self, ok, fault)
  end)
  return true
end

--- Ends the run: running items finish, the others are not begun.
---@param state "stopped"|"interrupted" that it has then
function Run:stop(state)
  if self.state ~= "running" or self.stopping then return end
  self.stopping = state
  if self.map then self.map:stop() end
end

--- Ends the run at once.
function Run:abort()
  self.stopping = self.stopping or "interrupted"
  if self.map then self.map:abort(errors.format("cancelled", "the program ends")) end
end

--- Returns the reasons of failures, the most common first, one line each.
---@return string[]
function Run:failures()
  local list = {}
  for line in self.reasons:text(MAX_REASONS):gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

return run
