-- SPDX-License-Identifier: MIT
-- Tests lua/fleet/aws over loopback: signatures that other programs check, an instance role that
-- changes during calls, and the log.
-- Patient: moto is slow.

local aws = require("spec.support.aws")
local e2e = require("spec.support.e2e")
local fleet_aws = require("fleet.aws")
local json = require("fleet.json")
local request = require("host.http").request
local task = require("host.task")

-- An AWS client that counts the requests to an endpoint.
local function view_of(env, url, more)
  local counted = { n = 0 }
  local options = {
    flags = { region = "eu-west-1", endpoints = { ec2 = url, sts = url } },
    getenv = function(name) return env[name] end,
    request = function(to, keep, options)
      if to == url then counted.n = counted.n + 1 end
      options.proxy = nil -- whatever proxy this machine has
      return request(to, keep, options)
    end,
    read = function() return nil end,
    sleep = function() task.sleep(0.001) end,
  }
  for name, value in pairs(more or {}) do options[name] = value end
  return fleet_aws.new(options), counted
end

local function keys(credentials)
  return {
    AWS_ACCESS_KEY_ID = credentials.key, AWS_SECRET_ACCESS_KEY = credentials.secret,
    AWS_SESSION_TOKEN = credentials.token,
  }
end

local FILTER = {
  ["Filter.1.Name"] = "tag:moonfleet:release", ["Filter.1.Value.1"] = "a b~c*(d)!é/\\*",
  MaxResults = 1000,
}

local function describe_instances(view)
  return view:query("ec2", "2016-11-15", "DescribeInstances", FILTER)
end

describe("a call of AWS", function()
  local world
  local moto, moto_world -- slow to start: one for all, by the first who needs it

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)
  teardown(function()
    if moto_world then moto_world:close() end
  end)

  local function start_moto(pending)
    if moto then return end
    moto_world = moto_world or e2e.new()
    moto = aws.moto(moto_world, pending)
  end

  it("is signed as botocore would sign it", function()
    for _, own in ipairs({ { key = "AKIDEXAMPLE", secret = "wJalrXUtnFEMI/K7MDENG+bPxRfi" },
      { key = "ASIAEXAMPLE", secret = "s", token = "IQoJb3JpZ2luX2VjE//+=" } }) do
      local server = aws.verifier(world, own)
      local said = assert(describe_instances((view_of(keys(own), server.url))))
      assert.matches("^ec2 eu%-west%-1 ", said)
      local wrong = keys(own)
      wrong.AWS_SECRET_ACCESS_KEY = "another"
      local body, err = describe_instances((view_of(wrong, server.url)))
      assert.is_nil(body)
      assert.equal(403, err.status)
    end
  end)

  it("of a JSON API is signed so, too", function()
    for _, own in ipairs({ { key = "AKIDEXAMPLE", secret = "wJalrXUtnFEMI/K7MDENG+bPxRfi" },
      { key = "ASIAEXAMPLE", secret = "s", token = "IQoJb3JpZ2luX2VjE//+=" } }) do
      local server = aws.verifier(world, own)
      local function get(as)
        local view = view_of(keys(as), server.url, {
          flags = { region = "eu-west-1", endpoints = { ssm = server.url } },
        })
        return view:json("ssm", "AmazonSSM", "GetParameter", { Name = "/é" })
      end
      assert.matches("^ssm eu%-west%-1 ", assert(get(own)))
      assert.equal(403, select(2, get({ key = own.key, secret = "another", token = own.token }))
        .status)
    end
  end)

  it("of Parameter Store is what botocore sends", function()
    local python = aws.python_with("botocore") or pending("no Python that has botocore")
    local asked = {}
    local view = view_of(keys({ key = "AKID", secret = "s" }), nil, {
      flags = { region = "eu-west-1" },
      request = function(url, _, options)
        asked[#asked + 1] = { url = url, options = options }
        return { status = 200, body = options.secret and require("host.secret").new("{}") or "{}",
          headers = {} }
      end,
    })
    local ssm = require("fleet.aws.ssm")
    ssm.get(view, "/moonfleet/search/node")
    ssm.version(view, "/moonfleet/search/node")
    ssm.list(view, "/moonfleet/search")
    ssm.put(view, "/a", "é\n", { description = "d", key = "k", tags = { t = "v" } })
    ssm.put(view, "/a", "b", { description = "d", overwrite = true })
    local lines = {}
    for i, each in ipairs(asked) do
      local action = each.options.headers["x-amz-target"]:match("^AmazonSSM%.(%a+)$")
      local name = action:gsub("%u", function(c) return "_" .. c:lower() end):sub(2)
      lines[i] = ('{"action":"%s","params":%s}'):format(name, each.options.body)
    end
    local path = world:write("calls", table.concat(lines, "\n") .. "\n")
    local done = world:start({ python, "spec/support/ssm_requests.py" }, { stdin = path }):wait()
    local theirs = e2e.results(done.out)
    assert.equal(5, #theirs, done.err)
    for i, each in ipairs(asked) do
      local options = each.options
      assert.same({ theirs[i].url, theirs[i].method, theirs[i].body },
        { each.url, options.method, json.decode(options.body) })
      for _, name in ipairs({ "content-type", "x-amz-target" }) do
        assert.equal(theirs[i].headers[name], options.headers[name])
      end
    end
  end)

  it("says what is wrong with credentials and policies, and does not insist", function()
    start_moto(pending)
    local view, counted = view_of(keys(moto.session), moto.url)
    assert.matches("<DescribeInstancesResponse", assert(describe_instances(view)))
    assert.equal(1, counted.n)

    local body, err = view:query("ec2", "2016-11-15", "DescribeVpcs")
    assert.is_nil(body)
    assert.equal(2, counted.n)
    assert.matches("^ec2 DescribeVpcs: the role moonfleet lacks ec2:DescribeVpcs: allow it in its "
      .. "policy", err.message)

    for _, change in ipairs({ { AWS_SECRET_ACCESS_KEY = "wrong" }, { AWS_SESSION_TOKEN = "wrong" },
      { AWS_SESSION_TOKEN = "" }, { AWS_ACCESS_KEY_ID = "ASIAUNKNOWN" } }) do
      local env = keys(moto.session)
      for name, value in pairs(change) do env[name] = value end
      view, counted = view_of(env, moto.url)
      body, err = describe_instances(view)
      assert.is_nil(body)
      assert.equal(1, counted.n)
      assert.matches("AWS rejects the credentials from the environment: AuthFailure",
        err.message)
      assert.not_matches("wrong", err.message)
    end
  end)

  it("goes on with the new credentials when the old ones are over", function()
    start_moto(pending)
    local env = keys(moto.session)
    env.AWS_SESSION_TOKEN = "of-yesterday"
    local view, counted = view_of(env, moto.url)
    assert(view.credentials:get())
    env.AWS_SESSION_TOKEN = moto.session.token
    local left, done = 10, task.event()
    for _ = 1, 10 do
      task.spawn(function()
        assert(describe_instances(view))
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    assert(done:wait(60))
    assert.equal(20, counted.n)
    assert(describe_instances(view))
    assert.equal(21, counted.n)
  end)

  it("assumes a role by a profile, by a web identity without a signature", function()
    start_moto(pending)
    local config = ("[default]\nrole_arn = %s\nsource_profile = jo\n[profile jo]\n"
      .. "aws_access_key_id = %s\naws_secret_access_key = %s\n"):format(moto.role, moto.user.key,
      moto.user.secret)
    local files = { AWS_CONFIG_FILE = "/c" }
    local view = view_of(files, moto.url, {
      read = function(path) return path == "/c" and config or nil end,
    })
    assert.matches("<DescribeInstancesResponse", assert(describe_instances(view)))
    local c = assert(view.credentials:get())
    assert.matches("^ASIA", c.key)
    assert.is_true(c.expires > os.time())

    aws.moto_auth(moto, false) -- it knows no call without a signature
    view = view_of({ AWS_WEB_IDENTITY_TOKEN_FILE = "/t", AWS_ROLE_ARN = moto.role }, moto.url,
      { read = function(path) return path == "/t" and "eyJhbGciOiJub25lIn0.e30." or nil end })
    c = assert(view.credentials:get())
    aws.moto_auth(moto, true)
    assert.matches("^ASIA", c.key)
    assert.equal("AWS_WEB_IDENTITY_TOKEN_FILE, role " .. moto.role, c.source)
  end)

  it("names the clock when that is wrong", function()
    local own = { key = "AKIDEXAMPLE", secret = "s" }
    local server = aws.verifier(world, own, 4000)
    local view, counted = view_of(keys(own), server.url, {
      request = function(to, keep, options)
        options.proxy = nil
        local answer, err = request(to, keep, options)
        if answer and answer.status == 403 then
          answer.body = "<Error><Code>RequestExpired</Code></Error>"
        end
        return answer, err
      end,
    })
    local body, err = describe_instances(view)
    assert.is_nil(body)
    assert.equal(0, counted.n)
    assert.matches("the clock of this machine is %d+ s ahead", err.message)
  end)

  it("outlives the credentials of the instance's role", function()
    local imds = aws.imds(world)
    local server = aws.verifier(world, { key = "x", secret = "y" })
    local ahead = 0
    local view = view_of({ AWS_EC2_METADATA_SERVICE_ENDPOINT = imds.url .. "/ok" },
      server.url .. "open", { now = function() return os.time() + ahead end })
    local seen, calls, left, done = {}, 0, 8, task.event()
    for _ = 1, 8 do
      task.spawn(function()
        for _ = 1, 40 do
          local said = assert(describe_instances(view))
          local key = said:match("Credential=(%w+)/")
          assert.matches("[Xx]%-[Aa]mz%-[Ss]ecurity%-[Tt]oken: token" .. key:match("%d+"), said)
          seen[key], calls = true, calls + 1
        end
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    for i = 1, 2 do
      e2e.wait_until("calls", function() return calls >= 100 * i end)
      imds.advance(3400)
      ahead = ahead + 3400
    end
    assert(done:wait(60))
    local names = {}
    for name in pairs(seen) do names[#names + 1] = name end
    table.sort(names)
    assert.equal(320, calls)
    assert.same({ "ASIA1", "ASIA2", "ASIA3" }, names)
    local counts = imds.counts()
    assert.equal(3, counts["GET /ok/latest/meta-data/iam/security-credentials/moonfleet"])
    assert.equal(1, counts["PUT /ok/latest/api/token"])
  end)

  it("leaves no secret in the log, however much is logged", function()
    local imds = aws.imds(world)
    local server = aws.verifier(world, { key = "x", secret = "y" })
    local script = world:write("poll.lua", [[
      local aws = require("fleet.aws")
      local view = aws.new({ flags = { region = "eu-west-1", endpoints = { ec2 = arg[1] } } })
      for _ = 1, 3 do
        local body, err = view:query("ec2", "2016-11-15", "DescribeInstances", {})
        print(body and "well" or err)
      end
      local credentials = assert(view.credentials:get())
      print(credentials, require("fleet.json").encode(credentials))
      require("fleet.log").debug("all", { of = credentials })
      for _, row in ipairs(view:describe()) do print(row.name, row.value, row.source) end
    ]])
    for path, wanted in pairs({ open = "well", [""] = "answered 403" }) do
      local run = world:run({ "run", "--log-level", "debug", script, "--", server.url .. path }, {
        env = { "AWS_EC2_METADATA_SERVICE_ENDPOINT=" .. imds.url .. "/ok", "HOME=" .. world.dir,
          "no_proxy=127.0.0.1" },
      })
      assert.equal(0, run.code, run.err)
      local all = run.out .. run.err
      assert.matches(wanted, run.out)
      assert.matches("ASIA%d", run.out)
      assert.matches("aws call", run.err)
      assert.not_matches("secret%d", all)
      assert.not_matches("token%-?%d", all)
    end
  end)
end)
