-- SPDX-License-Identifier: MIT
-- The scripts of `moonfleet completion` in the real shells: bash and zsh in a terminal (tmux), fish
-- by its own `complete -C`, which completes as it does in one.

local e2e = require("spec.support.e2e")

-- {what is typed before the tab key, the line then}; each has one completion. Where shells differ
-- in what they append, `zsh` is that of zsh.
local CASES = {
  { "ver", "version" },
  { "help keyg", "help keygen" },
  { "help fl", "help flags" },
  { "completion z", "completion zsh" },
  { "run --form", "run --format", zsh = "run --format=" },
  { "run --format c", "run --format csv" },
  { "run --format=c", "run --format=csv" },
  { "--log-level d", "--log-level debug" },
  { "--log-level debug nod", "--log-level debug nodes" },
  { "run --log-level=deb", "run --log-level=debug" },
  { "nodes --peers 127.0.0.1:5441,127.0.0.1:5442 --jso",
    "nodes --peers 127.0.0.1:5441,127.0.0.1:5442 --json" },
  { "nodes --discover fi", "nodes --discover file:" },
  { "run jo", "run job.lua" },
  { "run --items jo", "run --items job.lua" },
  { "run job.lua ite", "run job.lua items.txt" },
  { "run job.lua --output ite", "run job.lua --output items.txt" },
  { "run my", "run my\\ script.lua" },
  { "nodes --tls key", "nodes --tls keys/" },
  { "keygen key", "keygen keys/" },
  { "serve --allow-hosts loopback,pr", "serve --allow-hosts loopback,private",
    zsh = "serve --allow-hosts loopback,private," },
  { "eval --node al", "eval --node alpha" },
  { "eval --node=al", "eval --node=alpha" },
}
-- Nothing is to be added to these.
local COMPLETE = {
  "run --format x", "version x", "nodes --hidden-", "serve --session-f", "bogus x",
}

-- How each shell is started, without anything of the user.
local SHELLS = {
  bash = "bash --norc --noprofile -i",
  zsh = "zsh -f -i",
}
local SETUP = {
  bash = "source <(moonfleet completion bash)",
  zsh = "autoload -U compinit; compinit -u -D; source <(moonfleet completion zsh)",
}

describe("completion", function()
  local world, socket, folder, environment
  before_each(function()
    world = e2e.new()
    socket, folder = world:path("tmux"), world:path("folder")
    local node = world:node({ workers = 1, name = "alpha" })
    local function sh(script) assert.equal(0, world:start({ "sh", "-ec", script }):wait().code) end
    sh(("mkdir -p '%s/keys' '%s'; cd '%s'; touch job.lua job.txt items.txt 'my script.lua' keyfile")
      :format(folder, world:path("bin"), folder))
    world:write("bin/moonfleet", ("#!/bin/sh\nexec '%s' \"$@\"\n"):format(e2e.program))
    sh(("chmod +x '%s'"):format(world:path("bin/moonfleet")))
    environment = { "PATH=" .. world:path("bin") .. ":" .. os.getenv("PATH"), "HOME=" .. folder,
      "MOONFLEET_PEERS=" .. node.address, "LC_ALL=C.UTF-8", "PS1=$ ",
      "XDG_CONFIG_HOME=" .. folder }
  end)

  local function tmux(...)
    return world:start({ "tmux", "-S", socket, "-f", "/dev/null", ... }, { env = environment })
      :wait()
  end

  after_each(function()
    if e2e.exists(socket) then tmux("kill-server") end
    world:close()
  end)

  --- Waits for the last line of the screen to end with `mark`; returns what is before it.
  local function line_before(mark)
    local last
    local ok = pcall(e2e.wait_until, mark, function()
      local screen = tmux("capture-pane", "-p", "-J").out:gsub("%s+$", "")
      last = screen:match("[^\n]*$")
      return last:sub(-#mark) == mark
    end)
    if not ok then error(("waited for %q, the line is: %s"):format(mark, last), 2) end
    return (last:sub(1, -#mark - 1):gsub("%s+$", ""))
  end

  for _, shell in ipairs({ "bash", "zsh" }) do
    it("works in " .. shell, function()
      tmux("new-session", "-d", "-x", "120", "-y", "40", "-c", folder, SHELLS[shell])
      tmux("send-keys", "-l", SETUP[shell] .. "; PS1='> '; clear")
      tmux("send-keys", "Enter")
      line_before(">")
      local function completed(typed)
        tmux("send-keys", "C-u")
        tmux("send-keys", "-l", "moonfleet " .. typed)
        tmux("send-keys", "Tab")
        -- whatever the shell adds, this is typed after it
        tmux("send-keys", "-l", "%%")
        return line_before("%%")
      end
      local found, expected = {}, {}
      for i, case in ipairs(CASES) do
        found[i], expected[i] = completed(case[1]), "> moonfleet " .. (case[shell] or case[2])
      end
      assert.same(expected, found)
      for _, typed in ipairs(COMPLETE) do
        assert.equal("> moonfleet " .. typed, completed(typed))
      end
    end)
  end

  it("works in fish", function()
    local function completed(typed)
      local run = world:start({ "fish", "--no-config", "-c",
        "cd $argv[1]; moonfleet completion fish | source; complete -C $argv[2]", folder,
        "moonfleet " .. typed }, { env = environment }):wait()
      assert.same({ 0, "" }, { run.code, run.err })
      local words = {}
      for i, line in ipairs(e2e.lines(run.out)) do words[i] = line:match("^[^\t]*") end
      return words
    end
    for _, case in ipairs(CASES) do
      local word = case[2]:match("^my\\ .*") or case[2]:gsub("\\ ", "\0"):match("%S+$")
        :gsub("%z", " ")
      assert.same({ word }, completed(case[1]), case[1])
    end
    for _, typed in ipairs(COMPLETE) do assert.same({}, completed(typed), typed) end
  end)

  it("says which shells there are", function()
    local run = world:run({ "completion", "ksh" })
    assert.same({ 2, "moonfleet: completion needs bash, zsh or fish, got 'ksh'; did you mean "
      .. "'zsh'?\n" }, { run.code, run.err })
  end)
end)
