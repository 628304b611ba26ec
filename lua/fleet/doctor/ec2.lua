-- SPDX-License-Identifier: MIT
-- Checks everything between this machine and the list of its fleet on EC2: configuration,
-- credentials, the API, and the instances.

local http = require("host.http")
local release = require("fleet.discovery.release")
local text = require("fleet.base.text")
local time = require("fleet.aws.time")

local ec2 = {}

-- Seconds: AWS refuses signatures that are off by five minutes.
local CLOCK_WARN, CLOCK_FAIL = 30, 240
-- Other releases named in a line.
local MAX_NAMES = 5

-- Errors that only mean that this is no EC2 instance, unless the service itself returned them.
local NO_SERVICE = { timeout = true, connect = true, refused = true }

local function check_instance(report, aws, tag_key, wanted)
  local id, err = aws.imds:instance_id()
  if not id and NO_SERVICE[err.kind] and not err.status then
    report:ok("instance", ("not running on EC2 (%s)"):format(err.message))
    return nil
  elseif not id then
    report:warn("instance", err.message, "roles, region and tags of the instance cannot be used")
    return nil
  end
  report:ok("instance", ("%s in %s"):format(id, aws.imds:zone() or "an unknown zone"))
  local value
  value, err = aws.imds:tag(tag_key)
  if value and wanted and not release.accepts(wanted, value) then
    report:warn("instance tag", ("%s = %s, and the release here is %s"):format(tag_key, value,
      wanted), "drivers of the first release would find a node here that has the second: make "
      .. "--release or the file in the image agree with the tag")
  elseif value then
    report:ok("instance tag", ("%s = %s"):format(tag_key, value))
  elseif err then
    report:warn("instance tag", err.message)
  else
    report:warn("instance tag", ("the metadata has no tag %s"):format(tag_key),
      "enable InstanceMetadataTags of the instance, or set the release in another way")
  end
  return id
end

local FIXES = {
  profile = "set --profile or AWS_PROFILE to an existing profile, or correct the shared AWS files",
  region = "set --region or AWS_REGION",
  credentials = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach a role "
    .. "to the instance",
  ["ec2 endpoint"] = "correct --endpoint or AWS_ENDPOINT_URL_EC2, or omit it",
}

-- By class of error.
local CLASS_FIXES = {
  denied = "change the policies as the message says",
  stale = "renew the credentials, or correct them",
  throttled = "wait: calls are limited per account and region",
  transient = "wait: the problem is on the side of AWS",
  lost = "check the path from here to the endpoint: name server, proxy, NAT gateway, VPC endpoint",
}

-- Returns whether the configuration is complete, so that the other checks can run.
local function check_configuration(report, aws)
  local complete, reported = true, {}
  for _, row in ipairs(aws:describe()) do
    if row.err then
      complete = false
      -- without a region there is no endpoint either, for the same reason
      if not reported[row.err.message] then
        report:fail(row.name, row.err.message, CLASS_FIXES[row.err.class] or FIXES[row.name])
      end
      reported[row.err.message] = true
    elseif row.value then
      report:ok(row.name, ("%s, from %s"):format(row.value, row.source or "?"))
    end
  end
  return complete
end

local function check_clock(report, aws, request)
  local url = aws:endpoint("ec2")
  local answer = request(url, "buffer", {
    timeout = 10, connect_timeout = 5, max_redirects = 0, proxy = "environment",
    max_bytes = 1 << 20,
  })
  local there = answer and time.http(answer.headers.date)
  if not there then return end -- the next call will show why it does not answer
  local off = os.time() - there
  local detail = ("%d s %s"):format(math.abs(off), off < 0 and "behind" or "ahead")
  if math.abs(off) < CLOCK_WARN then
    report:ok("clock", "agrees with AWS")
  elseif math.abs(off) < CLOCK_FAIL then
    report:warn("clock", detail, "synchronize it (chrony); AWS refuses what is off by 5 minutes")
  else
    report:fail("clock", detail, "synchronize it (chrony): AWS refuses the signatures")
  end
end

local function states(counts)
  local parts = {}
  for state, n in pairs(counts) do parts[#parts + 1] = ("%d %s"):format(n, state) end
  table.sort(parts)
  return table.concat(parts, ", ")
end

-- "r1 (3 running) and r2 (1 stopped)", as a list.
local function others(census)
  local parts = {}
  for value, counts in pairs(census) do
    parts[#parts + 1] = ("%s (%s)"):format(value, states(counts))
  end
  table.sort(parts)
  return text.list(parts, MAX_NAMES)
end

local function check_instances(report, source, region)
  local options = source.options
  local census, err = source:census()
  if not census then
    report:fail("API", err.message, CLASS_FIXES[err.class] or "fix what the message reports")
    return false
  end
  report:ok("API", "ec2:DescribeInstances is allowed and works")
  local running = false
  for value, counts in pairs(census) do
    if counts.running and release.accepts(options.release, value) then
      report:ok("instances", ("%s = %s: %s"):format(options.tag_key, value, states(counts)))
      running = true
    end
  end
  if running then
    return true
  elseif next(census) then
    report:fail("instances", ("no running instance has %s = %s; there are: %s"):format(
      options.tag_key, options.release, others(census)),
      "set --release to one of these, or start instances")
  else
    report:fail("instances", ("no instance in %s has a tag %s"):format(region, options.tag_key),
      "tag the instances (PropagateAtLaunch of an Auto Scaling group), set another --tag-key, "
      .. "or check --region and the account")
  end
  return false
end

-- Checks the nodes that discovery makes of the instances. Returns whether there are any.
local function check_answer(report, source, id)
  local answer = source:poll()
  if not answer then return true end -- the check of the nodes will show why
  if answer.note then
    report:warn("addresses", answer.note, "set another --address")
  elseif #answer.members == 0 and #source.options.filters > 0 then
    report:fail("filters", "no instance matches --filter",
      "correct --filter, or omit it")
    return false
  end
  if not id then return true end
  for _, member in ipairs(answer.members) do
    if member.id == id then
      report:ok("own instance", "is among them, at " .. member.address)
      return true
    end
  end
  report:warn("own instance", id .. " is not among them",
    "this is fine on a machine that only runs drivers; otherwise check its tag and --filter")
  return true
end

---@param report fleet.Report
---@param aws fleet.Aws
---@param tag_key string
---@param wanted string|nil the release of this program, if it is known, or several
---@param make_source fun(): fleet.Ec2Source|nil, fleet.Error|nil
---@param request function|nil as host.http.request; specs pass their own
---@return boolean whether there are instances to connect to
function ec2.check(report, aws, tag_key, wanted, make_source, request)
  local id = check_instance(report, aws, tag_key, wanted)
  if not check_configuration(report, aws) then return false end
  check_clock(report, aws, request or http.request)
  local source, err = make_source()
  if not source then
    report:fail("discovery", err.message)
    return false
  end
  return check_instances(report, source, aws:region()) and check_answer(report, source, id)
end

return ec2
