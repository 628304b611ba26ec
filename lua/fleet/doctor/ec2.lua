-- SPDX-License-Identifier: MIT
-- Checks of everything between this machine and the list of its fleet on EC2: configuration,
-- credentials, the API, and which instances there are.

local http = require("host.http")
local time = require("fleet.aws.time")

local ec2 = {}

-- Seconds: signatures are refused from five minutes on.
local CLOCK_WARN, CLOCK_FAIL = 30, 240
-- Other releases that are named.
local MOST_NAMES = 5

-- Errors that say no more than that this is no EC2 instance, unless the service gave them.
local NOBODY = { timeout = true, connect = true, refused = true }

local function check_instance(report, aws, tag_key, release)
  local id, err = aws.imds:instance_id()
  if not id and NOBODY[err.kind] and not err.status then
    report:ok("instance", ("not running on EC2 (%s)"):format(err.message))
    return nil
  elseif not id then
    report:warn("instance", err.message, "roles, region and tags of the instance cannot be used")
    return nil
  end
  report:ok("instance", ("%s in %s"):format(id, aws.imds:zone() or "an unknown zone"))
  local value
  value, err = aws.imds:tag(tag_key)
  if value and release and value ~= release then
    report:warn("instance tag", ("%s = %s, and the release here is %s"):format(tag_key, value,
      release), "a node here would be found by drivers of the one release and be of the other: "
      .. "make --release or the file of the image agree with the tag")
  elseif value then
    report:ok("instance tag", ("%s = %s"):format(tag_key, value))
  elseif err then
    report:warn("instance tag", err.message)
  else
    report:warn("instance tag", ("the metadata has no tag %s"):format(tag_key),
      "enable InstanceMetadataTags of the instance, or give the release otherwise")
  end
  return id
end

local FIXES = {
  profile = "give --profile or AWS_PROFILE the name of one that there is, or correct the shared "
    .. "files of AWS",
  region = "give --region, or set AWS_REGION",
  credentials = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach a role "
    .. "to the instance",
  ["ec2 endpoint"] = "correct --endpoint or AWS_ENDPOINT_URL_EC2, or leave it out",
}

-- By the class of an error of AWS.
local CLASS_FIXES = {
  denied = "change the policies as it says",
  stale = "renew the credentials, or correct them",
  throttled = "wait: calls are limited for the account and region as a whole",
  transient = "wait: AWS has trouble of its own",
  lost = "see to the way from here to the endpoint: name server, proxy, NAT gateway, VPC endpoint",
}

-- Whether the rest makes sense.
local function check_configuration(report, aws)
  local whole, said = true, {}
  for _, row in ipairs(aws:describe()) do
    if row.err then
      whole = false
      -- without a region there is no endpoint either, for the same reason
      if not said[row.err.message] then
        report:fail(row.name, row.err.message, CLASS_FIXES[row.err.class] or FIXES[row.name])
      end
      said[row.err.message] = true
    elseif row.value then
      report:ok(row.name, ("%s, from %s"):format(row.value, row.source or "?"))
    end
  end
  return whole
end

local function check_clock(report, aws, request)
  local url = aws:endpoint("ec2")
  local answer = request(url, "buffer", {
    timeout = 10, connect_timeout = 5, max_redirects = 0, proxy = "environment",
    max_bytes = 1 << 20,
  })
  local there = answer and time.http(answer.headers.date)
  if not there then return end -- what keeps it from answering shows with the next call
  local off = os.time() - there
  local detail = ("%d s %s"):format(math.abs(off), off < 0 and "behind" or "ahead")
  if math.abs(off) < CLOCK_WARN then
    report:ok("clock", "as that of AWS")
  elseif math.abs(off) < CLOCK_FAIL then
    report:warn("clock", detail, "synchronize it (chrony); AWS refuses what is 5 minutes off")
  else
    report:fail("clock", detail, "synchronize it (chrony): AWS refuses our signatures")
  end
end

local function states(counts)
  local parts = {}
  for state, n in pairs(counts) do parts[#parts + 1] = ("%d %s"):format(n, state) end
  table.sort(parts)
  return table.concat(parts, ", ")
end

-- "r1 (3 running), r2 (1 stopped)"
local function others(census)
  local parts = {}
  for value, counts in pairs(census) do
    parts[#parts + 1] = ("%s (%s)"):format(value, states(counts))
  end
  table.sort(parts)
  local more = #parts - MOST_NAMES
  return table.concat(parts, ", ", 1, math.min(#parts, MOST_NAMES))
    .. (more > 0 and (" and %d more"):format(more) or "")
end

local function check_instances(report, source, region)
  local options = source.options
  local census, err = source:census()
  if not census then
    report:fail("API", err.message, CLASS_FIXES[err.class] or "put right what it says")
    return false
  end
  report:ok("API", "ec2:DescribeInstances is allowed and answers")
  local ours = census[options.release]
  if ours and ours.running then
    report:ok("instances", ("%s = %s: %s"):format(options.tag_key, options.release, states(ours)))
    return true
  elseif next(census) then
    report:fail("instances", ("none that runs has %s = %s; there are: %s"):format(options.tag_key,
      options.release, others(census)), "give the --release of one of these, or start instances")
  else
    report:fail("instances", ("no instance in %s has a tag %s"):format(region, options.tag_key),
      "tag the instances (PropagateAtLaunch of an Auto Scaling group), give another --tag-key, "
      .. "or look at --region and the account")
  end
  return false
end

-- What discovery makes of them. Whether there are any.
local function check_answer(report, source, id)
  local answer = source:poll()
  if not answer then return true end -- whatever that is, it shows with the nodes
  if answer.note then
    report:warn("addresses", answer.note, "give another --address")
  elseif #answer.members == 0 and #source.options.filters > 0 then
    report:fail("filters", "none of these instances is let through by --filter",
      "correct --filter, or leave it out")
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
    "that is right where only drivers run; else look at its tag and at --filter")
  return true
end

---@param report fleet.Report
---@param aws fleet.Aws
---@param tag_key string
---@param release string|nil of this program; nil: nobody knows
---@param make_source fun(): fleet.Ec2Source|nil, fleet.Error|nil
---@param request function|nil as host.http's; specs have their own
---@return boolean whether there are instances to connect to
function ec2.check(report, aws, tag_key, release, make_source, request)
  local id = check_instance(report, aws, tag_key, release)
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
