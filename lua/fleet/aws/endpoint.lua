-- SPDX-License-Identifier: MIT
-- The URL of a service: what somebody configured, or the host name that the region's partition
-- gives it. Never the name without a region: ec2.amazonaws.com is us-east-1.

local errors = require("fleet.errors")

local endpoint = {}

-- The part of AWS that a region's name belongs to; its host names end so. What fits none is of
-- the first kind: new regions are added there. `plain_fips`: the usual hosts are FIPS hosts.
local PARTITIONS = {
  { name = "aws-cn", regions = "^cn%-", suffix = "amazonaws.com.cn",
    dual = "api.amazonwebservices.com.cn" },
  { name = "aws-us-gov", regions = "^us%-gov%-", suffix = "amazonaws.com", dual = "api.aws",
    plain_fips = true },
  { name = "aws-iso", regions = "^us%-iso%-", suffix = "c2s.ic.gov", dual = "api.aws.ic.gov" },
  { name = "aws-iso-b", regions = "^us%-isob%-", suffix = "sc2s.sgov.gov",
    dual = "api.aws.scloud" },
  { name = "aws-iso-e", regions = "^eu%-isoe%-", suffix = "cloud.adc-e.uk",
    dual = "api.cloud-aws.adc-e.uk" },
  { name = "aws-iso-f", regions = "^us%-isof%-", suffix = "csp.hci.ic.gov",
    dual = "api.aws.hci.ic.gov" },
  { name = "aws-eusc", regions = "^eusc%-", suffix = "amazonaws.eu",
    dual = "api.amazonwebservices.eu" },
  { name = "aws", regions = "", suffix = "amazonaws.com", dual = "api.aws" },
}

-- Services that are used here, by the names of their hosts: their names in variables and files.
local SERVICES = { ec2 = "ec2", sts = "sts", autoscaling = "auto_scaling" }

local bad = errors.formatter("config")

--- The partition of a region.
---@param region string
---@return string
function endpoint.partition(region)
  for _, partition in ipairs(PARTITIONS) do
    if region:find(partition.regions) then return partition.name end
  end
  error("the last fits all")
end

--- The URL of a service as AWS names its hosts.
---@param service string
---@param region string
---@param fips boolean
---@param dual boolean by IPv4 and IPv6
---@return string
function endpoint.build(service, region, fips, dual)
  local partition
  for _, p in ipairs(PARTITIONS) do
    if p.name == endpoint.partition(region) then partition = p end
  end
  local host = service
  if fips and (dual or not partition.plain_fips) then host = host .. "-fips" end
  return ("https://%s.%s.%s/"):format(host, region, dual and partition.dual or partition.suffix)
end

-- The endpoint of a service in the [services NAME] that the profile names.
local function of_services(settings, profile, id)
  local name = profile.values.services
  if type(name) ~= "string" then return nil end
  local file, err = settings:file("config")
  if not file then return nil, nil, err end
  local section = file.services[name]
  if not section then
    return nil, nil, bad("profile %s names the services '%s', and there is no [services %s] in %s",
      profile.name, name, name, settings:path("config"))
  end
  local service = section[id]
  local url = type(service) == "table" and service.endpoint_url
  if url then return url, ("services %s"):format(name) end
end

local function of_profile(settings, id)
  local profile, err = settings:profile()
  if not profile then return nil, nil, err end
  local url, source
  url, source, err = of_services(settings, profile, id)
  if url or err then return url, source, err end
  url = profile.values.endpoint_url
  if type(url) == "string" then return url, "profile " .. profile.name end
end

-- What somebody configured: url and source, or nothing, or nil, nil and an error.
local function configured(settings, service)
  local id = SERVICES[service]
  local flags = settings.flags.endpoints or {}
  if flags[service] then return flags[service], "flag" end
  local ignored, _, err = settings:flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "ignore_configured_endpoint_urls")
  if err then return nil, nil, err end
  if ignored then return nil end
  local url, source = settings:value(nil, { "AWS_ENDPOINT_URL_" .. id:upper(), "AWS_ENDPOINT_URL" })
  if url then return url, source end
  return of_profile(settings, id)
end

local function check_url(url, source)
  local scheme, host, rest = url:match("^(%a+)://([^/?#%s@]+)([^?#%s]*)$")
  scheme = scheme and scheme:lower()
  local whole = rest == "" or rest and rest:find("^/")
  if (scheme ~= "http" and scheme ~= "https") or not whole or #url > 1000 then
    return nil, nil, bad("'%s' (%s) is no endpoint; one looks like https://HOST[:PORT]",
      url:sub(1, 100), source)
  end
  return ("%s://%s%s"):format(scheme, host, rest == "" and "/" or rest), source
end

--- The URL of a service, and who says so. May wait for the region.
---@param settings fleet.aws.Settings
---@param service string "ec2", "sts" or "autoscaling"
---@return string|nil url
---@return string|nil source
---@return fleet.Error|nil
function endpoint.find(settings, service)
  if not SERVICES[service] then error("no service is known as " .. tostring(service), 2) end
  local dual, fips, _, err
  dual, _, err = settings:flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
  if err then return nil, nil, err end
  fips, _, err = settings:flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
  if err then return nil, nil, err end
  local url, source
  url, source, err = configured(settings, service)
  if err then return nil, nil, err end
  if url then return check_url(url, source) end -- whatever kind of host it is
  local region, of_fips
  region, source, err, of_fips = settings:region()
  if not region then return nil, nil, err end
  return endpoint.build(service, region, fips or of_fips, dual),
    ("region %s (%s)"):format(region, source)
end

return endpoint
