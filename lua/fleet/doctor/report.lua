-- SPDX-License-Identifier: MIT
-- The findings of `moonfleet doctor`: checks, each ok, warn or fail, with suggested fixes.

local report = {}

--- @class fleet.Finding
--- @field check string what was checked, in a word or two
--- @field status "ok"|"warn"|"fail"
--- @field detail string what was found
--- @field fix string|nil what to do, unless the status is ok

--- @class fleet.Report
--- @field findings fleet.Finding[]
--- @field ok fun(self: fleet.Report, check: string, detail: string)
--- @field warn fun(self: fleet.Report, check: string, detail: string, fix: string|nil)
--- @field fail fun(self: fleet.Report, check: string, detail: string, fix: string|nil)
local Report = {}
Report.__index = Report

---@param on_finding fun(finding: fleet.Finding)|nil is called with each at once
---@return fleet.Report
function report.new(on_finding)
  return setmetatable({ findings = {}, on_finding = on_finding or function() end }, Report)
end

for _, status in ipairs({ "ok", "warn", "fail" }) do
  Report[status] = function(self, check, detail, fix)
    local finding = { check = check, status = status, detail = detail, fix = fix }
    self.findings[#self.findings + 1] = finding
    self.on_finding(finding)
  end
end

--- Counts the findings of a status.
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
