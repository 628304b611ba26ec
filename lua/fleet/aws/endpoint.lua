-- SPDX-License-Identifier: MIT
-- The URL of a service: a configured one, or the host name in the region's partition. Never the
-- name without a region: ec2.amazonaws.com is us-east-1.

local errors = require("fleet.errors")

local endpoint = {}

-- Parts of AWS by the names of their regions, with the ends of their host names. A region that
-- fits none but the last is a new one of the public part. `plain_fips`: the usual hosts are FIPS
-- hosts.
local PARTITIONS = {
  { regions = "^cn%-", suffix = "amazonaws.com.cn", dual = "api.amazonwebservices.com.cn" },
  { regions = "^us%-gov%-", suffix = "amazonaws.com", dual = "api.aws", plain_fips = true },
  { regions = "^us%-iso%-", suffix = "c2s.ic.gov", dual = "api.aws.ic.gov" },
  { regions = "^us%-isob%-", suffix = "sc2s.sgov.gov", dual = "api.aws.scloud" },
  { regions = "^eu%-isoe%-", suffix = "cloud.adc-e.uk", dual = "api.cloud-aws.adc-e.uk" },
  { regions = "^us%-isof%-", suffix = "csp.hci.ic.gov", dual = "api.aws.hci.ic.gov" },
  { regions = "^eusc%-", suffix = "amazonaws.eu", dual = "api.amazonwebservices.eu" },
  { regions = "", suffix = "amazonaws.com", dual = "api.aws" },
}

-- The services that are used here, by the names of their hosts, with their names in variables and
-- files.
local SERVICES = { ec2 = "ec2", sts = "sts", autoscaling = "auto_scaling", ssm = "ssm" }

local bad = errors.formatter("config")

--- The URL of a service by AWS's names of hosts.
---@param service string
---@param region string
---@param fips boolean
---@param dual boolean whether the host has IPv4 and IPv6 addresses
---@return string
function endpoint.build(service, region, fips, dual)
  local host, partition = service, nil
  for _, each in ipairs(PARTITIONS) do
    partition = partition or region:find(each.regions) and each
  end
  if fips and (dual or not partition.plain_fips) then host = host .. "-fips" end
  return ("https://%s.%s.%s/"):format(host, region, dual and partition.dual or partition.suffix)
end

-- The endpoint of a service in the section [services NAME] that the profile names.
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

-- The configured URL and its source; nothing when there is none; nil, nil and an error.
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
  local profile
  profile, err = settings:profile()
  if not profile then return nil, nil, err end
  url, source, err = of_services(settings, profile, id)
  if url or err then return url, source, err end
  url = profile.values.endpoint_url
  if type(url) == "string" then return url, "profile " .. profile.name end
end

local function check_url(url, source)
  local scheme, host, rest = url:match("^(%a+)://([^/?#%s@]+)([^?#%s]*)$")
  scheme = scheme and scheme:lower()
  local is_complete = rest == "" or rest and rest:find("^/")
  if (scheme ~= "http" and scheme ~= "https") or not is_complete or #url > 1000 then
    return nil, nil, bad("'%s' (%s) is not an endpoint; one looks like https://HOST[:PORT]",
      url:sub(1, 100), source)
  end
  return ("%s://%s%s"):format(scheme, host, rest == "" and "/" or rest), source
end

--- The URL of a service, and where it comes from. May wait for the region.
---@param settings fleet.aws.Settings
---@param service string "ec2", "sts", "autoscaling" or "ssm"
---@return string|nil url
---@return string|nil source
---@return fleet.Error|nil
function endpoint.find(settings, service)
  if not SERVICES[service] then error("unknown service " .. tostring(service), 2) end
  local dual, _, err = settings:flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
  if err then return nil, nil, err end
  local fips
  fips, _, err = settings:flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
  if err then return nil, nil, err end
  local url, source
  url, source, err = configured(settings, service)
  if err then return nil, nil, err end
  if url then return check_url(url, source) end -- whatever kind of host it is
  local region, is_fips_region
  region, source, err, is_fips_region = settings:region()
  if not region then return nil, nil, err end
  return endpoint.build(service, region, fips or is_fips_region, dual),
    ("region %s (%s)"):format(region, source)
end

return endpoint
