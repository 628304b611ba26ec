-- SPDX-License-Identifier: MIT
-- Helpers for specs of packer/deploy: moto with its checks on, and a user with the policy of a
-- deployer; stand-ins for packer and for the nodes (spec/deploy/bin).

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local lfs = require("lfs")

local deploying = {}

local REGION = "eu-west-1"

--- @class spec.Deploying
--- @field world e2e.World
--- @field fleets table<string, true> those that it has deployed
--- @field vpc string
--- @field subnet string
--- @field rpm string a package named moonfleet, for arm64
local Deploying = {}
Deploying.__index = Deploying

--- Returns the path of the first Python that has moto and the AWS CLI, or nil. It is not a shim,
--- which would be slow.
function deploying.find_python()
  for _, name in ipairs({ "python3", "/usr/bin/python3" }) do
    local pipe = assert(io.popen(name .. [[ -c 'import sys, moto.server, awscli
print(sys.executable)' 2>/dev/null]]))
    local path = pipe:read("l")
    pipe:close()
    if path then return path end
  end
  return nil
end

-- What a machine may lack; CI has it.
local function missing()
  local list = {}
  for _, name in ipairs({ "rpmbuild", "flock", "setpriv", "packer" }) do
    if not os.execute(("command -v %s >/dev/null"):format(name)) then list[#list + 1] = name end
  end
  if not deploying.find_python() then
    list[#list + 1] = "a Python that has moto.server and awscli"
  end
  return #list > 0 and "there is no " .. table.concat(list, ", no ") or nil
end

-- Builds an empty package; returns its path.
local function package(world, arch, version)
  local spec = world:write(("%s-%s.spec"):format(arch, version), ([[
Name: moonfleet
Version: %s
Release: 1
Summary: Stand-in
License: MIT
%%description
%%files
]]):format(version))
  local top = world:path("rpm")
  local built = world:start({
    "rpmbuild", "--quiet", "--target", arch, "--define", "_topdir " .. top, "-bb", spec,
  }):wait()
  assert(built.code == 0, built.err)
  return ("%s/RPMS/%s/moonfleet-%s-1.%s.rpm"):format(top, arch, version, arch)
end

--- Starts everything. Skips the spec, with the reason, if this machine lacks something.
---@param pending fun(why: string)
---@return spec.Deploying
function deploying.new(pending)
  local lack = e2e.sanitized and "this tests scripts, which no sanitizer sees" or missing()
  if lack then pending(lack) end
  local world = e2e.new()
  local self = setmetatable({ world = world, python = deploying.find_python(), fleets = {} },
    Deploying)
  self.port = e2e.free_port()
  self.url = ("http://127.0.0.1:%d"):format(self.port)
  local moto = world:start({
    self.python, "spec/deploy/moto_with_resources.py", "-H", "127.0.0.1", "-p", tostring(self.port),
  })
  e2e.wait_until("moto", function()
    if not moto:alive() then error("moto does not start: " .. moto:err()) end
    return http.get(self.url .. "/moto-api/")
  end, 120)
  self.socket = world:path("cli")
  local cli = world:start({ self.python, "spec/deploy/cli.py", self.socket })
  e2e.wait_until("the AWS CLI", function() return cli:out() ~= "" end, 120)
  assert(lfs.mkdir(world:path("bin")))
  for name in lfs.dir("spec/deploy/bin") do
    if not name:match("^%.") then
      assert(lfs.link(("%s/spec/deploy/bin/%s"):format(lfs.currentdir(), name),
        world:path("bin/" .. name), true))
    end
  end
  world:write("bin/aws", ('#!/bin/sh\nexec %s -S %s/spec/deploy/cli.py %s "$@"\n'):format(
    self.python, lfs.currentdir(), self.socket))
  assert(os.execute("chmod +x " .. world:path("bin/aws")))
  self.nodes_path = world:write("nodes", "")
  self.rpm = package(world, "aarch64", "1.0")
  self:check(false)
  self.vpc = self:aws("ec2", "create-vpc", "--cidr-block", "127.80.0.0/16", "--query",
    "Vpc.VpcId")
  self.subnet = self:subnet_of(self.vpc, "127.80.1.0/24")
  self:aws("iam", "create-user", "--user-name", "deployer")
  self.key, self.secret = self:aws("iam", "create-access-key", "--user-name", "deployer", "--query",
    "AccessKey.[AccessKeyId,SecretAccessKey]"):match("^(%S+)\t(%S+)$")
  self:policy()
  self:check(true)
  return self
end

function Deploying:close()
  self.world:close()
  for fleet in pairs(self.fleets) do os.execute("rm -rf build/deploy/" .. fleet) end
end

--- Builds another package; returns its path.
function Deploying:package(arch, version) return package(self.world, arch, version) end

function Deploying:subnet_of(vpc, cidr)
  return self:aws("ec2", "create-subnet", "--vpc-id", vpc, "--cidr-block", cidr, "--query",
    "Subnet.SubnetId")
end

--- Whether moto checks who calls, from now on.
---@param on boolean
function Deploying:check(on)
  local answer = assert(http.post(self.url .. "/moto-api/reset-auth", on and "0" or "inf",
    { headers = { ["content-type"] = "text/plain" } }))
  assert(answer.status == 200, answer.body)
end

local function environment(self, key, secret)
  return {
    "AWS_ENDPOINT_URL=" .. self.url, "AWS_REGION=" .. REGION, "AWS_DEFAULT_REGION=" .. REGION,
    "AWS_ACCESS_KEY_ID=" .. key, "AWS_SECRET_ACCESS_KEY=" .. secret,
    "AWS_EC2_METADATA_DISABLED=true",
    "HOME=" .. self.world.dir, "PATH=" .. self.world:path("bin") .. ":" .. os.getenv("PATH"),
    "MOONFLEET=" .. self.world:path("bin/moonfleet"), "REAL_MOONFLEET=" .. e2e.program,
    "NODES=" .. self.nodes_path,
  }
end

--- Calls AWS while nothing is checked; returns the text without its last line end.
function Deploying:aws(...)
  local run = self.world:start({ self.world:path("bin/aws"), "--output", "text", ... },
    { env = environment(self, "x", "x") }):wait()
  assert(run.code == 0, run.err)
  return (run.out:gsub("\n$", ""))
end

--- The same in between, while checks are on.
function Deploying:look(...)
  self:check(false)
  local text = self:aws(...)
  self:check(true)
  return text
end

--- Gives the deployer its policy, without some actions.
function Deploying:policy(...)
  local text = e2e.read("packer/deployer-policy.json")
  for _, action in ipairs({ ... }) do
    local found
    text, found = text:gsub('"' .. action .. '"', '"none:None"')
    assert(found == 1, action)
  end
  local path = self.world:write("policy.json", text)
  self:aws("iam", "put-user-policy", "--user-name", "deployer", "--policy-name", "deploy",
    "--policy-document", "file://" .. path)
end

--- The same while checks are on.
function Deploying:deny(...)
  self:check(false)
  self:policy(...)
  self:check(true)
end

--- Says how many nodes of each release answer.
---@param counts table<string, integer>
function Deploying:nodes(counts)
  local lines = {}
  for release, count in pairs(counts) do lines[#lines + 1] = release .. " " .. count end
  self.world:write("nodes", table.concat(lines, "\n") .. "\n")
end

--- Starts packer/deploy as the deployer.
---@param words string[]
---@param env string[]|nil
---@return e2e.Process
function Deploying:start(words, env)
  local all = environment(self, self.key, self.secret)
  table.move(env or {}, 1, #(env or {}), #all + 1, all)
  for i, word in ipairs(words) do
    if word == "--fleet" and words[i + 1] then self.fleets[words[i + 1]] = true end
  end
  return self.world:start({ "packer/deploy", table.unpack(words) }, { env = all })
end

--- Runs it to its end; `text` of the result is all that it said.
function Deploying:run(words, env)
  local result = self:start(words, env):wait(300)
  result.text = result.out .. result.err
  return result
end

--- The role of a fleet's nodes, as the three words of its credentials.
function Deploying:role_of(fleet)
  local name = self:look("cloudformation", "describe-stack-resource", "--stack-name",
    "moonfleet-" .. fleet, "--logical-resource-id", "Role", "--query",
    "StackResourceDetail.PhysicalResourceId")
  return self:look("sts", "assume-role", "--role-arn", "arn:aws:iam::123456789012:role/" .. name,
    "--role-session-name", "node", "--query",
    "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]")
end

--- Calls AWS with a role's credentials. Returns whether that was allowed, and what the CLI said; an
--- error of another kind counts as allowed.
function Deploying:as(role, ...)
  local key, secret, token = role:match("^(%S+)\t(%S+)\t(%S+)$")
  local env = environment(self, key, secret)
  env[#env + 1] = "AWS_SESSION_TOKEN=" .. token
  env[#env + 1] = "AWS_MAX_ATTEMPTS=1" -- moto has no lifecycle actions, and answers 500
  local run = self.world:start({ self.world:path("bin/aws"), ... }, { env = env }):wait()
  return not run.err:find("is not authorized to perform", 1, true), run.err
end

--- The words that deploy a release to a fleet.
function Deploying:words(fleet, release, ...)
  return {
    "--fleet", fleet, "--release", release, "--subnets", self.subnet, "--rpm", self.rpm,
    "--timeout", "1", ...,
  }
end

--- The names of the images that there are of a fleet, in order.
function Deploying:images(fleet)
  return self:look("ec2", "describe-images", "--owners", "self", "--filters",
    ("Name=name,Values=moonfleet/%s/*"):format(fleet), "--query", "sort(Images[].Name)")
end

return deploying
