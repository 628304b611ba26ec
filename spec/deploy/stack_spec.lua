-- SPDX-License-Identifier: MIT
-- packer/stack.yaml as CloudFormation would read it, above all what moto ignores (hooks, capacity
-- rebalancing, metadata options, rolling updates); the policies; and packer's template.
-- Patient: moto is slow.

local deploying = require("spec.deploy.deploying")
local e2e = require("spec.support.e2e")
local json = require("fleet.json")

-- Runs a command; returns its exit code and all that it wrote.
local function run(command)
  local pipe = assert(io.popen("(" .. command .. ") 2>&1"))
  local text = pipe:read("a")
  local _, _, code = pipe:close()
  return code, text
end

local function lacks(pending, ...)
  for _, name in ipairs({ ... }) do
    if run("command -v " .. name) ~= 0 then pending("there is no " .. name) end
  end
end

describe("packer/stack.yaml", function()
  local template

  -- The template as a table; functions are { Ref = ... }, { ["Fn::Sub"] = ... } and so on.
  local function read(pending)
    if template then return template end
    lacks(pending, "cfn-lint")
    local python = deploying.find_python() or pending("no Python that has moto.server")
    local code, text = run(python .. [[ -c 'import json, sys
from cfnlint.decode.cfn_yaml import load
json.dump(load("packer/stack.yaml"), sys.stdout, default=str)']])
    if code ~= 0 then pending("no Python that has cfn-lint") end
    template = assert(json.decode(text))
    return template
  end

  local function properties(pending, name) return read(pending).Resources[name].Properties end

  it("is clean", function()
    lacks(pending, "cfn-lint")
    assert.same({ 0, "" }, { run("cfn-lint packer/stack.yaml") })
  end)

  it("has no alias of YAML, which CloudFormation does not read, and no user data", function()
    local text = e2e.read("packer/stack.yaml")
    assert.is_nil(text:find("[:%-] [&*]%l"))
    assert.is_nil(text:find("UserData"))
  end)

  it("allows nodes what they need, of their own fleet alone", function()
    local statements = properties(pending, "Policy").PolicyDocument.Statement
    local own = { -- action -> the resource
      ["ec2:DescribeInstances"] = "*",
      ["ssm:GetParameter"] = { ["Fn::Sub"] = "arn:${AWS::Partition}:ssm:${AWS::Region}:"
        .. "${AWS::AccountId}:parameter/moonfleet/${Fleet}/node" },
      ["kms:Decrypt"] = { ["Fn::Sub"] = "arn:${AWS::Partition}:kms:${AWS::Region}:"
        .. "${AWS::AccountId}:key/*" },
    }
    for _, name in ipairs({ "CompleteLifecycleAction", "RecordLifecycleActionHeartbeat" }) do
      own["autoscaling:" .. name] = { ["Fn::Sub"] = "arn:${AWS::Partition}:autoscaling:"
        .. "${AWS::Region}:${AWS::AccountId}:autoScalingGroup:*:autoScalingGroupName/"
        .. "${AWS::StackName}" }
    end
    local found = {}
    for _, statement in ipairs(statements) do
      assert.equal("Allow", statement.Effect)
      local actions = statement.Action
      for _, action in ipairs(type(actions) == "table" and actions or { actions }) do
        found[action] = statement.Resource
        if action == "kms:Decrypt" then -- the ciphertext of the own parameter
          assert.same({ StringEquals = { ["kms:EncryptionContext:PARAMETER_ARN"] =
            own["ssm:GetParameter"] } }, statement.Condition)
        end
      end
    end
    assert.same(own, found)
    -- the profile waits for the policy, and the group has the name that the policy says
    assert.equal("Policy", read(pending).Resources.InstanceProfile.DependsOn)
    assert.same({ Ref = "AWS::StackName" }, properties(pending, "Group").AutoScalingGroupName)
  end)

  it("opens port 5440 to nodes and drivers alone", function()
    local from = {}
    for name, resource in pairs(read(pending).Resources) do
      if resource.Type == "AWS::EC2::SecurityGroupIngress" then
        local rule = resource.Properties
        assert.same({ "tcp", 5440, 5440 }, { rule.IpProtocol, rule.FromPort, rule.ToPort })
        assert.same({ ["Fn::GetAtt"] = { "SecurityGroup", "GroupId" } }, rule.GroupId)
        assert.is_nil(rule.CidrIp)
        from[name] = rule.SourceSecurityGroupId
      elseif resource.Type == "AWS::EC2::SecurityGroup" then
        assert.is_nil(resource.Properties.SecurityGroupIngress)
      end
    end
    assert.same({
      NodeIngress = { ["Fn::GetAtt"] = { "SecurityGroup", "GroupId" } },
      DriverIngress = { ["Fn::If"] = {
        "MakesDriverGroup", { ["Fn::GetAtt"] = { "DriverSecurityGroup", "GroupId" } },
        { Ref = "DriverSecurityGroupId" },
      } },
    }, from)
  end)

  it("launches instances that only their node's tags and keys tell apart", function()
    local data = properties(pending, "LaunchTemplate").LaunchTemplateData
    assert.same({
      HttpEndpoint = "enabled", HttpTokens = "required", HttpPutResponseHopLimit = 1,
      InstanceMetadataTags = "enabled",
    }, data.MetadataOptions)
    local volume = data.BlockDeviceMappings[1].Ebs
    assert.same({ "gp3", true, true },
      { volume.VolumeType, volume.Encrypted, volume.DeleteOnTermination })
    for _, each in ipairs(data.TagSpecifications) do
      local tags = {}
      for _, tag in ipairs(each.Tags) do tags[tag.Key] = tag.Value end
      assert.same({ Ref = "Release" }, tags["moonfleet:release"], each.ResourceType)
      assert.same({ Ref = "Fleet" }, tags["moonfleet:fleet"], each.ResourceType)
    end
    assert.equal("instance", data.TagSpecifications[1].ResourceType)
  end)

  it("drains instances before they end, and overlaps releases", function()
    local group = read(pending).Resources.Group
    assert.same({ {
      LifecycleHookName = "moonfleet-drain", DefaultResult = "CONTINUE", HeartbeatTimeout = 120,
      LifecycleTransition = "autoscaling:EC2_INSTANCE_TERMINATING",
    } }, group.Properties.LifecycleHookSpecificationList)
    assert.is_true(group.Properties.CapacityRebalance)
    local distribution = group.Properties.MixedInstancesPolicy.InstancesDistribution
    assert.equal("price-capacity-optimized", distribution.SpotAllocationStrategy)
    assert.same({ Ref = "OnDemandBase" }, distribution.OnDemandBaseCapacity)
    assert.same({ Ref = "OnDemandPercent" }, distribution.OnDemandPercentageAboveBaseCapacity)
    assert.equal(4, #group.Properties.MixedInstancesPolicy.LaunchTemplate.Overrides)
    assert.same({ Ref = "SubnetIds" }, group.Properties.VPCZoneIdentifier)
    local rolling = group.UpdatePolicy.AutoScalingRollingUpdate
    assert.same({ Ref = "MinInService" }, rolling.MinInstancesInService)
    for _, process in ipairs(rolling.SuspendProcesses) do
      assert.is_nil(("Launch Terminate"):find(process, 1, true))
    end
    -- only instances get the release with their image; a tag of the group would come earlier
    for _, tag in ipairs(group.Properties.Tags) do assert.is_false(tag.PropagateAtLaunch) end
  end)
end)

describe("packer/deployer-policy.json", function()
  it("has each action once, and each resource that can be narrowed is", function()
    local policy = assert(json.decode(e2e.read("packer/deployer-policy.json")))
    local seen = {}
    for _, statement in ipairs(policy.Statement) do
      assert.equal("Allow", statement.Effect)
      local actions = statement.Action
      for _, action in ipairs(type(actions) == "table" and actions or { actions }) do
        assert.is_nil(seen[action], action)
        seen[action] = statement
        assert.is_nil(action:find("*", 1, true), action)
        local narrow = action:match("^cloudformation:") or action:match("^ssm:[^D]")
          or action:match("^iam:")
        if narrow then
          assert.not_equal("*", statement.Resource, action)
        end
      end
    end
  end)
end)

describe("packer's template", function()
  it("is formatted, whole and as packer 1.6 reads it", function()
    lacks(pending, "packer")
    local copy = os.tmpname()
    os.remove(copy)
    finally(function() os.execute("rm -rf " .. copy) end)
    assert.same({ 0, "" }, { run("scripts/packer-portable.sh " .. copy) })
    assert.same({ 0, "" }, { run("packer fmt -check packer") })
    assert.same({ 0, "" }, { run("packer fmt -check " .. copy) })
    local function validate(...)
      return run(("AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x packer validate -var release=r1 "
        .. "-var fleet=f -var rpm=README.md -var rpm_sha256=ab -var region=eu-west-1 %s %s"):format(
          table.concat({ ... }, " "), copy))
    end
    assert.same({ 0, "" }, { validate() })
    assert.same({ 0, "" }, { validate("-var", "arch=x86_64", "-var", "kernel=6.1") })
    local code, text = validate("-var", "rpm=gone.rpm")
    assert.equal(1, code)
    assert.matches("gone.rpm", text, 1, true)
  end)

  it("requires version 2 of the metadata service, and encrypts", function()
    local text = e2e.read("packer/moonfleet.pkr.hcl")
    for _, line in ipairs({
      'http_tokens                 = "required"', "http_put_response_hop_limit = 1",
      'imds_support = "v2.0"', "encrypted             = true", 'volume_type           = "gp3"',
    }) do
      assert.is_truthy(text:find(line, 1, true), line)
    end
    -- drivers take machines with this tag for nodes
    local build_tags = text:match("build_tags = {(.-)\n  }")
    assert.is_nil(build_tags:find("moonfleet:release", 1, true))
  end)
end)

describe("the role of nodes, on moto", function()
  local d

  teardown(function()
    if d then d:close() end
  end)

  it("may do what nodes do, and nothing of another fleet", function()
    d = deploying.new(pending)
    d:nodes({ r1 = 3 })
    local deployed = d:run(d:words("spec-role", "r1"))
    assert.equal(0, deployed.code, deployed.text)
    local function outcomes(role, calls)
      for _, call in ipairs(calls) do
        local allowed, message = d:as(role, table.unpack(call, 2))
        assert.equal(call[1], allowed, table.concat(call, " ", 2) .. ": " .. message)
      end
    end
    local function get(fleet, role)
      return "ssm", "get-parameter", "--name", ("/moonfleet/%s/%s"):format(fleet, role), "--query",
        "Parameter.Version", "--with-decryption"
    end
    local function lifecycle(action, group)
      local more = action:find("complete") and { "--lifecycle-action-result", "CONTINUE" } or {}
      return "autoscaling", action, "--auto-scaling-group-name", group, "--lifecycle-hook-name",
        "moonfleet-drain", "--instance-id", "i-1", table.unpack(more)
    end
    outcomes(d:role_of("spec-role"), {
      { true, "ec2", "describe-instances" },
      { true, get("spec-role", "node") },
      { true, lifecycle("complete-lifecycle-action", "moonfleet-spec-role") },
      { true, lifecycle("record-lifecycle-action-heartbeat", "moonfleet-spec-role") },
      { false, lifecycle("complete-lifecycle-action", "moonfleet-other") },
      { false, get("spec-role", "driver") },
      { false, get("other", "node") },
      { false, "ec2", "describe-vpcs" },
      { false, "ec2", "terminate-instances", "--instance-ids", "i-1" },
      { false, "ssm", "put-parameter", "--name", "/moonfleet/spec-role/node", "--value", "x" },
      { false, "autoscaling", "set-desired-capacity", "--auto-scaling-group-name",
        "moonfleet-spec-role", "--desired-capacity", "9" },
    })
  end)
end)
