-- SPDX-License-Identifier: MIT
-- The closing lines of a run: how many items succeeded, on which nodes, and of which releases.

local text = require("fleet.base.text")

local summary = {}

--- @class fleet.Counts
--- @field done integer items that have ended, failed ones included
--- @field failed integer
--- @field total? integer all items, if known
--- @field resumed? integer items that ended in an earlier run, included in `done`

--- @class fleet.NodeCounts
--- @field name string
--- @field ok integer
--- @field failed integer
--- @field release string|nil

--- Splits whole seconds into hours, minutes and seconds.
---@param seconds integer
---@return integer, integer, integer
function summary.split(seconds)
  return seconds // 3600, seconds // 60 % 60, seconds % 60
end

--- Returns seconds as "4.2 ms", "0.25 s", "12.3 s", "2 m 05 s" or "1 h 02 m 05 s".
---@param seconds number
---@return string
function summary.duration(seconds)
  if seconds < 0.09995 then return ("%.1f ms"):format(seconds * 1000) end
  if seconds < 9.995 then return ("%.2f s"):format(seconds) end
  if seconds < 59.95 then return ("%.1f s"):format(seconds) end
  local h, m, s = summary.split(math.floor(seconds + 0.5))
  if h == 0 then return ("%d m %02d s"):format(m, s) end
  return ("%d h %02d m %02d s"):format(h, m, s)
end

--- Returns items per second, below 10 with one decimal digit.
---@param rate number
---@return string
function summary.rate(rate)
  return (rate < 9.95 and "%.1f/s" or "%.0f/s"):format(rate)
end

-- Returns integer percentages that add up to that of the sum: those with the largest fractions are
-- rounded up.
local function percents(parts, total)
  local list, order, sum, left = {}, {}, 0, 0
  for i, part in ipairs(parts) do
    list[i], order[i] = math.floor(100 * part / total), i
    sum, left = sum + part, left - list[i]
  end
  left = left + math.floor(100 * sum / total + 0.5)
  local function fraction(i) return 100 * parts[i] / total - 100 * parts[i] // total end
  table.sort(order, function(a, b)
    if fraction(a) ~= fraction(b) then return fraction(a) > fraction(b) end
    return a < b
  end)
  for i = 1, left do list[order[i]] = list[order[i]] + 1 end
  return list
end

-- Returns shares as text: "35%"; "<1%" for small ones, "100%" only for everything.
local function shares(parts, total)
  local list = total > 0 and percents(parts, total) or {}
  for i, part in ipairs(parts) do
    if total == 0 or part == 0 then
      list[i] = "0%"
    elseif part < total and part / total > 0.99 then
      list[i] = ">99%"
    elseif part / total < 0.01 then
      list[i] = "<1%"
    else
      list[i] = ("%d%%"):format(list[i])
    end
  end
  return list
end

local function node_lines(nodes, done)
  local rows, parts = { { "node", "ok", "failed", "share" } }, {}
  for i, node in ipairs(nodes) do parts[i] = node.ok + node.failed end
  for i, share in ipairs(shares(parts, done)) do
    local node = nodes[i]
    rows[i + 1] = { text.escape(node.name), tostring(node.ok), tostring(node.failed), share }
  end
  return text.columns(rows, { [2] = true, [3] = true, [4] = true })
end

-- "releases: r1 (12000 items on 2 nodes), r2 (8000 items on 1 node)" when nodes of several have
-- worked; else nil.
local function releases_line(nodes)
  local by_release, names = {}, {}
  for _, node in ipairs(nodes) do
    local name, items = node.release, node.ok + node.failed
    if name and items > 0 then
      if not by_release[name] then
        by_release[name], names[#names + 1] = { items = 0, nodes = 0 }, name
      end
      local sum = by_release[name]
      sum.items, sum.nodes = sum.items + items, sum.nodes + 1
    end
  end
  if #names < 2 then return nil end
  table.sort(names)
  for i, name in ipairs(names) do
    local sum = by_release[name]
    names[i] = ("%s (%s on %s)"):format(text.escape(name), text.count(sum.items, "item"),
      text.count(sum.nodes, "node"))
  end
  return "releases: " .. table.concat(names, ", ")
end

--- Returns the closing lines of a run, each ended by LF: how many items took how long, with more
--- than one node a table of their shares, and with more than one release theirs.
---@param run {counts: fleet.Counts, nodes: fleet.NodeCounts[], elapsed: number}
---@return string
function summary.text(run)
  local done, failed = run.counts.done, run.counts.failed
  local resumed = run.counts.resumed or 0
  local rate, not_run = "", (run.counts.total or done) - done
  if done > resumed and run.elapsed > 0 then
    rate = (" (%s)"):format(summary.rate((done - resumed) / run.elapsed))
  end
  local lines = { ("%s in %s%s: %d ok, %d failed%s%s"):format(text.count(done, "item"),
    summary.duration(run.elapsed), rate, done - failed, failed,
    not_run > 0 and (", %d not run"):format(not_run) or "",
    resumed > 0 and ("; %d from the journal"):format(resumed) or "") }
  if #run.nodes > 1 then
    for _, line in ipairs(node_lines(run.nodes, done - resumed)) do lines[#lines + 1] = line end
  end
  lines[#lines + 1] = releases_line(run.nodes)
  return table.concat(lines, "\n") .. "\n"
end

return summary
