-- SPDX-License-Identifier: MIT
local ssh = require("fleet.discovery.ssh")

describe("fleet.discovery.ssh", function()
  it("parses [N/][user@]host[:port]", function()
    for text, expected in pairs({
      ["build1"] = { "build1", "build1", "build1" },
      ["alice@build1:2222"] = { "alice@build1:2222", "alice@build1", "build1", 2222 },
      ["8/alice@build1"] = { "alice@build1", "alice@build1", "build1", nil, 8 },
      ["alice@fd00::1"] = { "alice@fd00::1", "alice@fd00::1", "fd00::1" },
      ["alice@[fd00::1]:22"] = { "alice@[fd00::1]:22", "alice@fd00::1", "fd00::1", 22 },
    }) do
      local t = assert(ssh.parse(text))
      assert.same({
        text = expected[1], login = expected[2], host = expected[3], port = expected[4],
        workers = expected[5],
      }, t)
    end
  end)

  it("refuses what ssh would misunderstand", function()
    for text, fault in pairs({
      ["-oProxyCommand=x"] = "begins with a dash",
      ["alice@-host"] = "begins with a dash",
      ["4/-x"] = "begins with a dash",
      ["a b"] = "has white space in it",
      ["a\nb"] = "has white space in it",
      ["@host"] = "has no user before the @",
      ["host:99999"] = "is not [user@]host[:port]",
      ["host:"] = "is not [user@]host[:port]",
      [""] = "is not [user@]host[:port]",
      ["0/host"] = "has a number of workers outside 1 to 1024",
      ["1025/host"] = "has a number of workers outside 1 to 1024",
      [("9"):rep(20) .. "/host"] = "has a number of workers outside 1 to 1024",
      [("9"):rep(400) .. "/host"] = "has a number of workers outside 1 to 1024",
    }) do
      local target, why = ssh.parse(text)
      assert.is_nil(target)
      assert.equal(fault, why)
    end
  end)

  it("parses a file of targets", function()
    local targets = assert(ssh.parse_file("# ours\n\nalice@a # old\r\n 2/b:7\n", "f"))
    assert.same({ "alice@a", "b:7" }, { targets[1].text, targets[2].text })
    local none, err = ssh.parse_file("a\n-b\n", "f")
    assert.is_nil(none)
    assert.same({ "input", "f:2: '-b' begins with a dash" }, { err.kind, err.message })
  end)

  local function launch(text, options)
    return ssh.launch(assert(ssh.parse(text)), setmetatable(options or {}, { __index = {
      command = { "ssh" }, program = "moonfleet", node_flags = { "--lease-exit=60" },
    } }))
  end

  it("makes the command line of ssh, which asks nothing", function()
    local made = launch("2/alice@build1:2222", {
      command = { "ssh", "-F", "cfg" }, program = "~/bin/moonfleet",
      node_flags = { "--release=it's 1" },
    })
    assert.equal("ssh alice@build1:2222", made.name)
    assert.equal("build1", made.host)
    assert.same({
      "ssh", "-F", "cfg", "-T", "-a", "-x", "-S", "none", "-o", "BatchMode=yes", "-o",
      "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-p",
      "2222", "--", "alice@build1",
      "exec ~/bin/moonfleet serve --stdio '--release=it'\\''s 1' --workers=2",
    }, made.argv)
  end)

  it("says what a failure of ssh means", function()
    local target = assert(ssh.parse("alice@build1:2222"))
    local place = "alice@build1:2222: "
    for _, case in ipairs({
      { 255, nil, "No ED25519 host key is known for x and you have requested strict checking.\r\n"
        .. "Host key verification failed.\r\n",
        "host key unknown or changed; connect once by hand: ssh -p 2222 alice@build1" },
      { 255, nil, "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@\n",
        "host key unknown or changed; connect once by hand: ssh -p 2222 alice@build1" },
      { 255, nil, "banner\nalice@build1: Permission denied (publickey,password).\r\n",
        "permission denied (publickey,password); ssh never asks here: ssh-add, or IdentityFile in "
          .. "~/.ssh/config" },
      { 127, nil, "bash: line 1: exec: moonfleet: not found\n", "no moonfleet in the PATH of a "
        .. "non-interactive shell; --ssh-program PATH or --ssh-copy" },
      { 127, nil, "moonfleet: error while loading shared libraries: libnng.so.1: cannot open\n",
        "moonfleet: error while loading shared libraries: libnng.so.1: cannot open" },
      { 255, nil, "ssh: connect to host build1 port 2222: Connection refused\r\n\n",
        "ssh: connect to host build1 port 2222: Connection refused" },
      { 3, nil, "", "ssh ended with exit code 3" },
      { nil, 9, "x", "ssh was killed by signal 9" },
    }) do
      assert.equal(place .. case[4],
        ssh.explain(target, case[1], case[2], case[3], { "ssh" }, true))
    end
    assert.equal(place .. "bash: exec: /opt/m: not found",
      ssh.explain(target, 127, nil, "bash: exec: /opt/m: not found\n", { "ssh" }))
    assert.equal(place .. "host key unknown or changed; connect once by hand: ssh -F 'a b' -p 2222 "
      .. "alice@build1", ssh.explain(target, 255, nil, "Host key verification failed.\r\n",
      { "ssh", "-F", "a b" }))
  end)

  it("checks --ssh-program and --ssh-command", function()
    assert.equal("~/'my bin/moonfleet'", ssh.program("~/my bin/moonfleet"))
    assert.equal("/opt/m", ssh.program("/opt/m"))
    for _, path in ipairs({ "", "-x", "a\nb" }) do
      assert.equal("usage", select(2, ssh.program(path)).kind)
    end
    assert.same({ "ssh", "-F", "a b" }, ssh.command("ssh -F 'a b'"))
    assert.equal("usage", select(2, ssh.command("ssh 'x")).kind)
    assert.equal("usage", select(2, ssh.command(" ")).kind)
  end)
end)
