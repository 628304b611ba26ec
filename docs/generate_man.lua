-- SPDX-License-Identifier: MIT
-- Writes the manual pages from the tables of flags in lua/fleet/cli/commands.lua and from the
-- documents:
--
--   lua5.4 docs/generate_man.lua DIR [DATE]    writes moonfleet.1, moonfleet-job.5, moonfleet.lua.5
--
-- DATE is that of the pages, such as 2026-01-31 (default: today). Plain Lua, from any folder.

local root = debug.getinfo(1, "S").source:match("^@(.*)/docs/generate_man%.lua$") or "."
package.path = ("%s/docs/?.lua;%s"):format(root, package.path)

local cli_page = require("generate_cli") -- which finds the library as well
local roff = require("roff")
local commands = require("fleet.cli.commands")
local help = require("fleet.cli.help")

local function read(path)
  local file = assert(io.open(root .. "/" .. path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local version = read("host/base/version.h"):match('MOONFLEET_VERSION "([^"]+)"')

-- The text below a heading of the second level.
local function part_of(path, heading)
  local text = "\n" .. read(path)
  local _, from = text:find("\n## " .. heading .. "\n", 1, true)
  assert(from, path .. " has no heading " .. heading)
  return text:sub(from + 1, (text:find("\n## ", from, true) or #text) - 1)
end

local function add_sections(page, flags, title)
  for _, section in ipairs(help.sections(flags, title)) do
    if section[1] ~= "" then page:subsection(section[1]) end
    for _, row in ipairs(section[2]) do page:term(row[1], row[2]) end
  end
end

local function add_command(page, command)
  page:subsection(("moonfleet %s%s"):format(command.name, command.usage and " " .. command.usage
    or ""))
  for _, paragraph in ipairs(command.text) do page:paragraph(paragraph) end
  add_sections(page, command.flags, "")
  for _, note in ipairs(command.notes or {}) do
    page:paragraph(note.title .. ":")
    for _, row in ipairs(note) do page:term(row[1], row[2]) end
  end
  local lines = {}
  for _, example in ipairs(command.examples or {}) do
    lines[#lines + 1] = "# " .. example[2]
    lines[#lines + 1] = "moonfleet " .. example[1]
  end
  if lines[1] then page:code(lines) end
end

local function name(page, title, what)
  page:section("NAME")
  page:add(("%s \\- %s"):format(roff.escape(title), roff.escape(what)))
end

local function see_also(page, list)
  page:section("SEE ALSO")
  for i, other in ipairs(list) do
    page:add((".BR %s (%s)%s"):format(roff.escape(other[1]), other[2], list[i + 1] and "," or ""))
  end
end

local pages = {}

pages["moonfleet.1"] = function(page)
  name(page, "moonfleet", "run Lua jobs on a fleet of machines")
  page:section("SYNOPSIS")
  page:add(".B moonfleet")
  page:add("\\fICOMMAND\\fR [\\fIFLAG\\fR]... [\\fIARGUMENT\\fR]...")
  page:section("DESCRIPTION")
  page:paragraph(commands.summary)
  page:markdown(cli_page.intro)
  page:section("COMMANDS")
  for _, command in ipairs(commands) do add_command(page, command) end
  page:section("OPTIONS")
  add_sections(page, commands.flags, "Flags of every command")
  page:section("ENVIRONMENT")
  page:paragraph("Besides the variables that set flags:")
  for _, row in ipairs(commands.variables) do page:term(row[1], row[2]) end
  for _, row in ipairs(cli_page.variables) do page:term((row[1]:gsub("`", "")), row[2]) end
  page:section("FILES")
  page:term("/etc/moonfleet/moonfleet.lua", "configuration of every command on this machine: see "
    .. "moonfleet.lua(5)")
  page:term("/etc/moonfleet/release", "the release of this machine, a line of text")
  page:term("/etc/sysconfig/moonfleet, /etc/default/moonfleet", "environment of the service of a "
    .. "node, by distribution")
  page:term("/usr/share/moonfleet/scripts", "jobs that are ready to use")
  see_also(page, { { "moonfleet-job", 5 }, { "moonfleet.lua", 5 } })
end

pages["moonfleet-job.5"] = function(page)
  name(page, "moonfleet-job", "job scripts of moonfleet")
  page:section("DESCRIPTION")
  page:markdown(part_of("docs/guide.md", "A first job"))
  page:section("JOB TABLES")
  page:markdown(part_of("docs/reference.md", "Job tables"))
  page:section("ITEMS")
  page:markdown(part_of("docs/formats.md", "Items"))
  page:section("JSON")
  page:markdown(part_of("docs/formats.md", "JSON"))
  page:section("ERRORS")
  page:markdown(part_of("docs/guide.md", "Errors"))
  page:section("EXIT STATUS")
  page:markdown(part_of("docs/formats.md", "Exit codes"))
  page:section("EXAMPLES")
  page:paragraph("The job that downloads pages and writes their checksums, checksum.lua:")
  local lines = {}
  for line in read("scripts/checksum.lua"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  page:code(lines)
  see_also(page, { { "moonfleet", 1 }, { "moonfleet.lua", 5 } })
end

-- What a key may be set to, by the type of its flag.
local KINDS = {
  boolean = "true or false", string = "a string", integer = "an integer",
  list = "a list of strings", texts = "a list of strings", choice = "a string",
  percent = "a string", duration = "a number of seconds, or a string",
  size = "a number of bytes, or a string",
}

pages["moonfleet.lua.5"] = function(page)
  name(page, "moonfleet.lua", "configuration of moonfleet")
  page:section("DESCRIPTION")
  page:markdown(cli_page.configuration:match("\n\n(.*)$"))
  page:paragraph("The file is Lua without files and processes: it may have comments and compute, "
    .. "and read the environment with `os.getenv`. A key that is no flag is an error. Flags of the "
    .. "command line and variables of the environment win over the file.")
  page:section("KEYS")
  local owners, keys = {}, {}
  local function add(flags, owner)
    for _, flag in ipairs(flags) do
      if not flag.hidden and not flag.typed_only then
        local key = flag.name:gsub("-", "_")
        if not owners[key] then
          owners[key] = { flag = flag, by = {} }
          keys[#keys + 1] = key
        end
        if owner then table.insert(owners[key].by, owner) end
      end
    end
  end
  add(commands.flags)
  for _, command in ipairs(commands) do add(command.flags, command.name) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local about = owners[key]
    page:term(key, ("%s (%s%s)"):format(about.flag.help, KINDS[about.flag.type],
      about.by[1] and "; for " .. table.concat(about.by, ", ") or ""))
  end
  page:section("FILES")
  page:term("/etc/moonfleet/moonfleet.lua", "the default; the file need not exist")
  see_also(page, { { "moonfleet", 1 } })
end

local generate_man = { names = { "moonfleet.1", "moonfleet-job.5", "moonfleet.lua.5" } }

--- The text of a manual page.
---@param file string one of generate_man.names
---@param date string
---@return string
function generate_man.text(file, date)
  local title, section = file:match("^(.*)%.(%d)$")
  local page = roff.page(title, math.tointeger(section), date, "moonfleet " .. version)
  pages[file](page)
  return page:text()
end

if arg and arg[0] and arg[0]:find("generate_man%.lua$") then
  local dir, date = arg[1], arg[2] or os.date("!%Y-%m-%d")
  if not dir then
    io.stderr:write("usage: lua5.4 docs/generate_man.lua DIR [DATE]\n")
    os.exit(2)
  end
  for _, file in ipairs(generate_man.names) do
    local out = assert(io.open(dir .. "/" .. file, "wb"))
    assert(out:write(generate_man.text(file, date)))
    assert(out:close())
  end
end

return generate_man
