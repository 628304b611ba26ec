-- SPDX-License-Identifier: MIT
-- Metrics as text that Prometheus and others read: the exposition format 0.0.4
-- (https://prometheus.io/docs/instrumenting/exposition_formats/) or OpenMetrics 1.0.
--
-- A family is {name, type, help, samples}; the type is "counter", "gauge" or "histogram". A sample
-- is {labels, value}, of a histogram {labels, {bounds, counts, sum}}. Counters have names that end
-- with _total.

local metrics = {}

local TEXT = "text/plain; version=0.0.4; charset=utf-8"
local OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

-- A number as both formats read it.
local function number(value)
  if value ~= value then return "NaN" end
  if value == math.huge then return "+Inf" end
  if value == -math.huge then return "-Inf" end
  local whole = math.tointeger(value)
  if whole then return ("%d"):format(whole) end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

-- A bound of a bucket: in OpenMetrics always with a point.
local function bound(value, open)
  local s = ("%.15g"):format(value)
  return open and not s:find("[.en]") and s .. ".0" or s
end

local function labels_of(labels, extra)
  local list = {}
  for name, value in pairs(labels or {}) do
    list[#list + 1] = ('%s="%s"'):format(name, tostring(value):gsub('[\\\n"]', ESCAPES))
  end
  table.sort(list)
  list[#list + 1] = extra
  return list[1] and "{" .. table.concat(list, ",") .. "}" or ""
end

local function add_histogram(out, name, labels, histogram, open)
  local count = 0
  for i, n in ipairs(histogram.counts) do
    count = count + n
    local le = histogram.bounds[i] and bound(histogram.bounds[i], open) or "+Inf"
    local all = labels_of(labels, ('le="%s"'):format(le))
    out[#out + 1] = ("%s_bucket%s %d"):format(name, all, count)
  end
  out[#out + 1] = ("%s_sum%s %s"):format(name, labels_of(labels), number(histogram.sum))
  out[#out + 1] = ("%s_count%s %d"):format(name, labels_of(labels), count)
end

--- Returns the text of families.
---@param families table[]
---@param open boolean|nil whether it is OpenMetrics
---@return string
function metrics.text(families, open)
  local out = {}
  for _, family in ipairs(families) do
    local name, type, help = family[1], family[2], family[3]
    local announced = open and type == "counter" and name:gsub("_total$", "") or name
    out[#out + 1] = ("# HELP %s %s"):format(announced, (help:gsub("[\\\n]", ESCAPES)))
    out[#out + 1] = ("# TYPE %s %s"):format(announced, type)
    for _, sample in ipairs(family[4]) do
      if type == "histogram" then
        add_histogram(out, name, sample[1], sample[2], open)
      else
        out[#out + 1] = ("%s%s %s"):format(name, labels_of(sample[1]), number(sample[2]))
      end
    end
  end
  if open then out[#out + 1] = "# EOF" end
  return table.concat(out, "\n") .. "\n"
end

--- Returns the response to a request for metrics, in the format that it accepts.
---@param families table[]
---@param accept string|nil the header Accept
---@return table
function metrics.response(families, accept)
  local open = accept ~= nil and accept:find("application/openmetrics-text", 1, true) ~= nil
  return { type = open and OPENMETRICS or TEXT, body = metrics.text(families, open) }
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("a")
  if file then file:close() end
  return text
end

-- Of Linux on all architectures that are built for: what /proc counts in.
local TICKS, PAGE = 100, 4096

--- Returns the families of this process, by the names that all clients of Prometheus use.
---@return table[]
function metrics.process()
  local stat = read("/proc/self/stat")
  local boot = (read("/proc/stat") or ""):match("\nbtime (%d+)")
  local fields = {}
  for field in (stat and stat:match("%) (.*)$") or ""):gmatch("%S+") do
    fields[#fields + 1] = tonumber(field) or 0
  end
  if not fields[22] then return {} end
  local limit = (read("/proc/self/limits") or ""):match("Max open files%s+(%d+)")
  local families = {
    { "process_cpu_seconds_total", "counter", "Processor time of the process.",
      { { nil, (fields[12] + fields[13]) / TICKS } } },
    { "process_resident_memory_bytes", "gauge", "Memory of the process in RAM.",
      { { nil, fields[22] * PAGE } } },
    { "process_virtual_memory_bytes", "gauge", "Virtual memory of the process.",
      { { nil, fields[21] } } },
  }
  if boot then
    families[#families + 1] = { "process_start_time_seconds", "gauge",
      "When the process began, in seconds since 1970.", { { nil, boot + fields[20] / TICKS } } }
  end
  if limit then
    families[#families + 1] = { "process_max_fds", "gauge",
      "Descriptors that the process may have open.", { { nil, tonumber(limit) } } }
  end
  return families
end

return metrics
