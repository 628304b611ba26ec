-- SPDX-License-Identifier: MIT
-- What `moonfleet doctor` finds: a list of checks, each ok, warn or fail, with what to do about
-- it.

local report = {}

--- @class fleet.Finding
--- @field check string what was looked at, in a word or two
--- @field status "ok"|"warn"|"fail"
--- @field detail string what was found
--- @field fix string|nil what to do, unless all is well

--- @class fleet.Report
--- @field findings fleet.Finding[]
local Report = {}
Report.__index = Report

---@param on_finding fun(finding: fleet.Finding)|nil is told of each at once
---@return fleet.Report
function report.new(on_finding)
  return setmetatable({ findings = {}, on_finding = on_finding or function() end }, Report)
end

local function add(self, status, check, detail, fix)
  local finding = { check = check, status = status, detail = detail, fix = fix }
  self.findings[#self.findings + 1] = finding
  self.on_finding(finding)
end

---@param check string
---@param detail string
function Report:ok(check, detail) add(self, "ok", check, detail) end

---@param check string
---@param detail string
---@param fix string|nil
function Report:warn(check, detail, fix) add(self, "warn", check, detail, fix) end

---@param check string
---@param detail string
---@param fix string|nil
function Report:fail(check, detail, fix) add(self, "fail", check, detail, fix) end

--- How many there are of a status.
---@param status "ok"|"warn"|"fail"
---@return integer
function Report:count(status)
  local n = 0
  for _, finding in ipairs(self.findings) do
    if finding.status == status then n = n + 1 end
  end
  return n
end

return report
