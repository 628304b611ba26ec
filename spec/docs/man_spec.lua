-- SPDX-License-Identifier: MIT
-- The manual pages are clean roff, and every flag is in the help, the manual pages, the completion
-- of each shell and docs/cli.md.

local cli = require("fleet.cli")
local commands = require("fleet.cli.commands")
local completion = require("fleet.cli.completion")
local e2e = require("spec.support.e2e")
local generate_man = dofile("docs/generate_man.lua")
local roff = dofile("docs/roff.lua")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

-- The flags of a text, as a set: "--name".
local function flags_in(text)
  local set = {}
  for flag in text:gsub("\\%-", "-"):gmatch("%-%-(%l[%w-]*)") do set[flag] = true end
  return set
end

-- The part of a text from the line that begins with `from` up to the next that matches `to`.
local function part(text, from, to)
  local at, rest = ("\n" .. text):find("\n" .. from, 1, true)
  assert(at, "there is no " .. from)
  return text:sub(at, (text:find(to, rest) or #text + 1) - 1)
end

describe("the manual pages", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  for _, name in ipairs(generate_man.names) do
    it("are clean: " .. name, function()
      world:write(name, generate_man.text(name, "2026-01-31"))
      local lint = world:start({ "mandoc", "-T", "lint", world:path(name) }):wait()
      assert.same({ 0, "", "" }, { lint.code, lint.out, lint.err })
    end)
  end

  it("write what roff would take for itself as it is", function()
    local page = roff.page("x", 1, "2026-01-31", "x 1")
    page:section("NAME")
    page:add("x \\- tests")
    page:section("DESCRIPTION")
    page:markdown("'quoted' and .dotted\n\n- a `\\n` and `--flag`\n\n| a | b |\n|---|---|\n"
      .. "| `x\\|y` | 1 |\n\n```\n.code \\e 'x'\n'more\n```")
    world:write("x.1", page:text())
    local shown = world:start({ "mandoc", "-T", "ascii", world:path("x.1") }):wait().out
    shown = shown:gsub(".\b", "") -- bold
    for _, line in ipairs({ "'quoted' and .dotted", "a \\n and --flag", "x|y\n         1\n",
      ".code \\e 'x'", "'more" }) do
      assert(shown:find(line, 1, true), line .. " is not in\n" .. shown)
    end
  end)
end)

describe("every flag", function()
  local man, docs = generate_man.text("moonfleet.1", "2026-01-31"), read("docs/cli.md")
  local config = generate_man.text("moonfleet.lua.5", "2026-01-31")
  local scripts = {}
  for _, shell in ipairs(completion.SHELLS) do
    scripts[shell] = completion.script(shell, commands)
  end

  -- The places where the flags of a command are, or those of all commands for nil.
  local function places_of(command)
    local name = command and command.name
    local places = {
      help = cli.help(commands, name or "flags"),
      man = command and part(man, '.SS "moonfleet ' .. name, "\n%.S[SH] ")
        or part(man, ".SH OPTIONS", "\n%.SH ENV"),
      docs = command and part(docs, "## moonfleet " .. name, "\n## ")
        or part(docs, "## Flags of every command", "\n## Environment"),
    }
    places.bash = command and part(scripts.bash, "    " .. name .. ") echo", "\n")
      or scripts.bash:match("local common='[^']*'")
    places.zsh = command and part(scripts.zsh, "        " .. name .. ")", "\n *;;")
      or part(scripts.zsh, "  common=(", "\n  %)")
    local lines = {}
    for line in scripts.fish:gmatch("[^\n]+") do
      local of = line:match("__moonfleet_uses (%l+)'")
      if line:find("^complete") and of == name then lines[#lines + 1] = line end
    end
    places.fish = table.concat(lines, "\n"):gsub(" %-l ", " --")
    return places
  end

  for _, command in ipairs({ false, table.unpack(commands) }) do
    local owner = command or commands
    it("is everywhere: " .. (command and command.name or "of every command"), function()
      for place, text in pairs(places_of(command or nil)) do
        local found = flags_in(text)
        for _, flag in ipairs(owner.flags) do
          assert.equal(not flag.hidden, found[flag.name] or false,
            ("--%s in %s"):format(flag.name, place))
        end
      end
      for _, flag in ipairs(completion.visible(owner.flags)) do
        local key = roff.escape(flag.name:gsub("-", "_"))
        if not flag.typed_only then
          assert(config:find("\n\\fB" .. key .. "\\fR\n", 1, true), key .. " in moonfleet.lua.5")
        end
      end
    end)
  end
end)
