-- SPDX-License-Identifier: MIT
-- packer/deploy against moto, with stand-ins for packer's machine and for nodes: what it makes, and
-- what it says and leaves when something is wrong.
-- Patient: moto is slow.

local deploying = require("spec.deploy.deploying")
local e2e = require("spec.support.e2e")

describe("packer/deploy", function()
  local d

  -- Starts moto when the first spec needs it.
  local function begin(pending) d = d or deploying.new(pending) end

  teardown(function()
    if d then d:close() end
  end)

  local function says(run, text)
    assert.is_truthy(run.text:find(text, 1, true), ("%q is not in:\n%s"):format(text, run.text))
  end

  local function deployed(fleet, release, ...)
    d:nodes({ [release] = 4 })
    local run = d:run(d:words(fleet, release, ...))
    assert.equal(0, run.code, run.text)
    return run
  end

  local function stack(fleet, query)
    return d:look("cloudformation", "describe-stacks", "--stack-name", "moonfleet-" .. fleet,
      "--query", "Stacks[0]." .. query)
  end

  local function parameter(fleet, name)
    return stack(fleet, ("Parameters[?ParameterKey=='%s'].ParameterValue|[0]"):format(name))
  end

  it("makes a fleet, and rolls it to the next release, as a deployer may", function()
    begin(pending)
    local run = deployed("spec-new", "r1", "--min", "1", "--on-demand-percent", "25")
    says(run, "release r1 is deployed")
    says(run, "moonfleet run --discover ec2 --region eu-west-1 --release r1 --filter "
      .. "tag:moonfleet:fleet=spec-new --tls ssm:/moonfleet/spec-new/driver JOB.lua")
    assert.equal("moonfleet/spec-new/r1/arm64", d:images("spec-new"))
    local image = parameter("spec-new", "ImageId")
    local tags = d:look("ec2", "describe-tags", "--filters", "Name=resource-id,Values=" .. image,
      "--query", "Tags[].[Key,Value]")
    for _, tag in ipairs({
      "moonfleet:release\tr1", "moonfleet:fleet\tspec-new", "moonfleet:healthy",
    }) do
      assert.is_truthy(tags:find(tag, 1, true), tags)
    end
    assert.equal("/moonfleet/spec-new/driver\t/moonfleet/spec-new/node", d:look("ssm",
      "describe-parameters", "--parameter-filters",
      "Key=Path,Option=OneLevel,Values=/moonfleet/spec-new", "--query", "sort(Parameters[].Name)"))
    assert.equal("25", parameter("spec-new", "OnDemandPercent"))
    assert.equal("3", parameter("spec-new", "MinInService"))

    run = deployed("spec-new", "r2", "--desired", "4", "--keep", "1")
    says(run, "keys are in SSM already")
    assert.equal("r2", parameter("spec-new", "Release"))
    assert.equal("25", parameter("spec-new", "OnDemandPercent")) -- as it was
    assert.equal("1", parameter("spec-new", "MinSize"))
    assert.equal("4", parameter("spec-new", "DesiredCapacity"))
    assert.equal("3", parameter("spec-new", "MinInService")) -- as many as ran
    assert.equal("moonfleet/spec-new/r2/arm64", d:images("spec-new")) -- the older one is removed
    for _, secret in ipairs({ "PRIVATE KEY", d.secret }) do
      assert.is_nil(run.text:find(secret, 1, true))
    end
  end)

  it("takes what there is of a release, and never changes it", function()
    begin(pending)
    deployed("spec-there", "r1")
    says(deployed("spec-there", "r1"), "is there already")
    local run = d:run({
      "--fleet", "spec-there", "--release", "r1", "--rpm", d:package("aarch64", "2.0"),
    })
    assert.equal(1, run.code)
    says(run, "release r1 exists already")
    says(run, "A release never changes: choose another --release, or --no-build")
    run = d:run({ "--fleet", "spec-there", "--release", "r1", "--no-build" })
    assert.equal(0, run.code, run.text)
    run = d:run({ "--fleet", "spec-there", "--release", "r0", "--no-build" })
    assert.equal(1, run.code)
    says(run, "release r0 of fleet spec-there has no image for arm64 in eu-west-1; these have "
      .. "one: r1")
  end)

  it("refuses a network that cannot be, before anything is made", function()
    begin(pending)
    d:check(false)
    local vpc = d:aws("ec2", "create-vpc", "--cidr-block", "127.81.0.0/16", "--query",
      "Vpc.VpcId")
    local other = d:subnet_of(vpc, "127.81.1.0/24")
    d:check(true)
    local function refused(text, ...)
      local run = d:run({ "--fleet", "spec-net", "--release", "r1", "--rpm", d.rpm, ... })
      assert.equal(1, run.code, run.text)
      says(run, text)
      says(run, "nothing has been changed")
      assert.equal("", d:images("spec-net"))
    end
    refused("aws ec2 describe-subnets: An error occurred (InvalidSubnetID.NotFound)", "--subnets",
      "subnet-0123456789abcdef0")
    refused("the subnets are in more than one VPC", "--subnets", d.subnet .. "," .. other)
    refused(("the subnets are in %s, and not in %s"):format(vpc, d.vpc), "--subnets", other,
      "--vpc", d.vpc)
    refused("--type: t3.small is not for arm64", "--subnets", d.subnet, "--type",
      "t4g.small,t3.small")
    refused("--max 3 must be more than the 3 instances", "--subnets", d.subnet, "--max", "3")
    refused("--min 5 is more than the 3 instances", "--subnets", d.subnet, "--min", "5")
  end)

  it("refuses a package that is not the right one", function()
    begin(pending)
    local function refused(text, rpm, ...)
      local run = d:run({
        "--fleet", "spec-rpm", "--release", "r1", "--subnets", d.subnet, "--rpm", rpm, ...,
      })
      assert.equal(1, run.code, run.text)
      says(run, text)
      assert.equal("", d:images("spec-rpm"))
    end
    local wrong = ("0"):rep(64)
    refused("is not what it should be: its SHA-256 is", d.rpm, "--sha256", wrong)
    local copy = d.world:write("copy.rpm", e2e.read(d.rpm))
    d.world:write("copy.rpm.sha256", wrong .. "  copy.rpm\n")
    refused("copy.rpm.sha256 says " .. wrong, copy)
    refused("moonfleet for x86_64, and the fleet needs moonfleet for aarch64",
      d:package("x86_64", "1.0"))
    local damaged = e2e.read(d.rpm)
    refused("is damaged", d.world:write("damaged.rpm", damaged:sub(1, -20) .. ("x"):rep(19)))
    refused("is damaged", d.world:write("short.rpm", damaged:sub(1, 1000)))
  end)

  it("names each action that is denied, with its statement, and goes on from there", function()
    begin(pending)
    d:nodes({ r1 = 4 })
    finally(function() d:deny() end)
    for _, case in ipairs({
      { "cloudformation:DescribeStacks", "looks at the stack" },
      { "ec2:DescribeSubnets", "looks at the network" },
      { "ec2:DescribeImages", "looks for the image" },
      { "ec2:CreateImage", "makes the image" },
      { "ssm:DescribeParameters", "looks for the keys" },
      { "ssm:PutParameter", "makes the keys" },
      { "cloudformation:CreateChangeSet", "creates the stack" },
      { "cloudformation:ExecuteChangeSet", "creates the stack" },
      { "ec2:CreateTags", "waits for the nodes" },
    }) do
      local action, step = case[1], case[2]
      d:deny(action)
      local run = d:run(d:words("spec-deny", "r1"))
      assert.equal(1, run.code, run.text)
      says(run, action .. " is denied to arn:aws:iam::123456789012:user/deployer")
      says(run, '"Sid": ')
      says(run, '"' .. action .. '"')
      says(run, "failed while it " .. step)
    end
    d:deny()
    deployed("spec-deny", "r1")
  end)

  it("leaves no image when the machine could not be provisioned", function()
    begin(pending)
    local run = d:run(d:words("spec-bake", "r1"), { "PACKER_FAULT=fail" })
    assert.equal(1, run.code)
    says(run, "the node has started, and does not work")
    says(run, "packer has failed, and there is no image")
    assert.equal("", d:images("spec-bake"))
  end)

  it("goes on after an interruption at each step", function()
    begin(pending)
    d:nodes({})
    local machines = {
      "ec2", "describe-instances", "--filters", "Name=tag-key,Values=moonfleet:baking",
      "Name=tag:moonfleet:fleet,Values=spec-stop", "Name=instance-state-name,Values=running",
      "--query", "Reservations[].Instances[].InstanceId",
    }
    for _, case in ipairs({
      { "looks for the image of r1", "KILL" }, { "launching a machine", "INT", 130 },
      { "launching a machine", "TERM", 143 }, { "launching a machine", "KILL" },
      { "looks for the keys of the fleet", "INT", 130 }, { "makes the keys of the fleet", "KILL" },
      { "creates the stack", "KILL" }, { "waits for the nodes of r1", "INT", 130 },
    }) do
      local line, signal, code = table.unpack(case)
      local run = d:start(d:words("spec-stop", "r1", "--timeout", "60"), {
        "PACKER_FAULT=" .. (line:find("machine") and "hang" or ""),
      })
      local ok, why = pcall(e2e.wait_until, line, function()
        return run:out():find(line, 1, true)
      end, 240)
      assert(ok, tostring(why) .. "\n" .. run:out() .. run:err())
      if line:find("machine") then -- which packer terminates, whatever the signal
        e2e.wait_until("the machine", function()
          return d:look(table.unpack(machines)) ~= ""
        end, 240)
      end
      e2e.kill(run.pid, signal)
      run:wait(240)
      assert.equal(code, run.ended.code, run:err())
      if code then
        says({ text = run:err() }, "deploy: interrupted while it ")
        says({ text = run:err() }, "the same command continues from here")
      end
      if line:find("machine") then
        e2e.wait_until("its end", function()
          return d:look(table.unpack(machines)) == ""
        end, 240)
        assert.equal("", d:images("spec-stop"))
      end
    end
    deployed("spec-stop", "r1")
    assert.equal("moonfleet/spec-stop/r1/arm64", d:images("spec-stop"))
  end)

  it("replaces an image that was not complete", function()
    begin(pending)
    assert.equal(1, d:run(d:words("spec-half", "r1"), { "PACKER_FAULT=half" }).code)
    local half = d:look("ec2", "describe-images", "--owners", "self", "--filters",
      "Name=name,Values=moonfleet/spec-half/*", "--query", "Images[].ImageId")
    assert.matches("^ami%-", half)
    says(deployed("spec-half", "r1"), half .. " is what an interrupted packer has left")
    assert.not_equal(half, parameter("spec-half", "ImageId"))
    assert.equal("moonfleet/spec-half/r1/arm64", d:images("spec-half"))
  end)

  it("goes back to the release before when the new nodes do not answer", function()
    begin(pending)
    d:nodes({})
    local run = d:run(d:words("spec-back", "r1"))
    assert.equal(1, run.code)
    says(run, "0 of 3 nodes of r1 answer")
    says(run, "(a stand-in says so)") -- moonfleet doctor
    says(run, "no release of this fleet has worked before. The stack stays")
    deployed("spec-back", "r1")

    run = d:run(d:words("spec-back", "r2", "--min", "1"))
    assert.equal(3, run.code, run.text)
    says(run, "release r2 did not work, and the fleet has release r1 again")
    assert.equal("r1", parameter("spec-back", "Release"))
    assert.equal("2", parameter("spec-back", "MinSize")) -- everything is as it was

    -- killed after the stack has changed, before the nodes have answered
    local killed = d:start(d:words("spec-back", "r2", "--timeout", "60"))
    e2e.wait_until("the nodes", function()
      return killed:out():find("0 of 3 nodes of r2", 1, true)
    end, 240)
    e2e.kill(killed.pid, "KILL")
    killed:wait(240)
    assert.equal("r2", parameter("spec-back", "Release"))
    run = d:run(d:words("spec-back", "r2"))
    assert.equal(3, run.code, run.text)
    assert.equal("r1", parameter("spec-back", "Release"))
  end)

  it("prints every command in a dry run, and changes nothing", function()
    begin(pending)
    local run = d:run(d:words("spec-dry", "r1", "--dry-run"))
    assert.equal(0, run.code, run.text)
    local commands = {}
    for command in run.err:gmatch("%+ (%S+ %S+ ?%S*)") do commands[#commands + 1] = command end
    local program = d.world:path("bin/moonfleet")
    assert.same({
      "aws sts get-caller-identity", "aws cloudformation describe-stacks",
      "aws ec2 describe-subnets", "aws ec2 describe-vpcs",
      "aws ec2 describe-images", "aws ec2 describe-instances",
      "packer init packer", "packer build -color=false", "aws ssm describe-parameters",
      "mkdir -p " .. d.world.dir .. "/.moonfleet/keys",
      program .. " keygen " .. d.world.dir .. "/.moonfleet/keys/spec-dry",
      "aws cloudformation create-change-set", "aws cloudformation execute-change-set",
      program .. " nodes --discover", "aws ec2 create-tags",
    }, commands)
    says(run, "this was a dry run: nothing has been changed")
    assert.equal("", d:images("spec-dry"))
    assert.is_false(e2e.exists(d.world.dir .. "/.moonfleet/keys/spec-dry"))
    assert.is_false(e2e.exists("build/deploy/spec-dry"))
    assert.equal("", d:look("cloudformation", "describe-stacks", "--query",
      "Stacks[?StackName=='moonfleet-spec-dry'].StackName"))
  end)

  it("removes a fleet whole, and nothing else", function()
    begin(pending)
    deployed("spec-end", "r1")
    deployed("spec-end", "r2")
    deployed("spec-stays", "r1")
    local run = d:run({ "--destroy", "--fleet", "spec-end" })
    assert.equal(1, run.code)
    says(run, "without a terminal, --destroy needs --yes")
    run = d:run({ "--destroy", "--fleet", "spec-end", "--dry-run" })
    assert.equal(0, run.code, run.text)
    says(run, "+ aws cloudformation delete-stack --stack-name moonfleet-spec-end")
    assert.equal("r2", parameter("spec-end", "Release"))
    run = d:run({ "--destroy", "--fleet", "spec-end", "--yes" })
    assert.equal(0, run.code, run.text)
    says(run, "stack      moonfleet-spec-end")
    says(run, "keys       /moonfleet/spec-end/node")
    assert.equal("", d:images("spec-end"))
    assert.equal("", d:look("ec2", "describe-snapshots", "--owner-ids", "self", "--filters",
      "Name=tag:moonfleet:fleet,Values=spec-end", "--query", "Snapshots[].SnapshotId"))
    assert.equal("moonfleet/spec-stays/r1/arm64", d:images("spec-stays"))
    assert.equal("r1", parameter("spec-stays", "Release"))
    assert.equal("/moonfleet/spec-stays/driver\t/moonfleet/spec-stays/node", d:look("ssm",
      "describe-parameters", "--parameter-filters",
      "Key=Name,Option=BeginsWith,Values=/moonfleet/spec-", "--query",
      "sort(Parameters[?contains(Name,'spec-end')||contains(Name,'spec-stays')].Name)"))
    says(d:run({ "--destroy", "--fleet", "spec-end", "--yes" }),
      "there is nothing of fleet spec-end")
  end)

  it("says what is wrong with a command line", function()
    begin(pending)
    for words, text in pairs({
      [""] = "--fleet is missing",
      ["--fleet f"] = "--release is missing",
      ["--fleet F --release r1"] = "--fleet must be a name of lower-case letters",
      ["--fleet f --release a/b"] = "--release must be up to 64",
      ["--fleet f --release"] = "--release needs a value",
      ["--fleet= --release r1"] = "--fleet has an empty value",
      ["--fleet f --release r1 --color"] = "there is no flag --color",
      ["--fleet f --release r1 x"] = "what is 'x'",
      ["--fleet f --release r1 --max many"] = "--max must be a number",
      ["--fleet f --release r1 --on-demand-percent 101"] = "must be a percentage",
      ["--fleet f --release r1 --arch mips"] = "--arch must be arm64 or x86_64",
      ["--fleet f --release r1 --subnets a"] = "--subnets must be ids of subnets",
      ["--fleet f --release r1 --rpm gone.rpm"] = "there is no file gone.rpm",
      ["--fleet f --release r1 --no-build --rpm README.md"] = "--no-build uses an image",
      ["--fleet f --destroy --release r1"] = "--destroy removes the whole fleet",
      ["--fleet f --release r1 --keep 0"] = "--keep must be a number from 1",
    }) do
      local list = {}
      for word in words:gmatch("%S+") do list[#list + 1] = word end
      local run = d:run(list)
      assert.equal(2, run.code, run.text)
      says(run, text)
    end
  end)

  it("names at once what this machine lacks", function()
    begin(pending)
    local bin = d.world:path("few")
    assert(os.execute("mkdir " .. bin))
    for _, name in ipairs({
      "bash", "sed", "sort", "head", "mktemp", "rm", "mkdir", "dirname", "flock",
    }) do
      assert(os.execute(("ln -s $(command -v %s) %s/%s"):format(name, bin, name)))
    end
    local run = d:run({ "--fleet", "spec-few", "--release", "r1" },
      { "PATH=" .. bin, "MOONFLEET=" })
    assert.equal(1, run.code)
    for _, name in ipairs({ "aws", "rpm", "packer", "docker", "setsid", "setpriv" }) do
      says(run, "\n  " .. name .. ": ")
    end
  end)
end)
