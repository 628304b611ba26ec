-- SPDX-License-Identifier: MIT
-- Which nodes the command line means: those of --peers, those that --discover finds, or none,
-- which is this machine alone.

local address = require("fleet.discovery.address")
local check = require("fleet.check")
local errors = require("fleet.errors")
local text = require("fleet.text")

local choose = {}

local KINDS = { "dns", "ec2", "file" }

local function usage(format, ...)
  return nil, errors.new({ kind = "usage", message = format:format(...) })
end

-- By kind: makes the source out of what stands behind the colon, nil when nothing does.
local sources = {}

function sources.file(rest, flags)
  if not rest then return usage("--discover file:PATH needs the path of a list of nodes") end
  return require("fleet.discovery.file").new(rest, flags.port or address.DEFAULT_PORT)
end

--- Makes the source of a discovery.
---@param what string as --discover has it
---@param flags table of the command line
---@return fleet.Source|nil
---@return fleet.Error|nil of kind "usage"
function choose.source(what, flags)
  local kind, rest = what:match("^(%w+):(.+)$")
  kind = kind or what:match("^(%w+):?$")
  local make = kind and sources[kind]
  if make then return make(rest, flags) end
  local nearest = check.nearest(kind or what, KINDS)
  return usage("--discover takes ec2, dns:NAME[:PORT] or file:PATH, got %s%s", text.quote(what),
    nearest and ("; did you mean %s?"):format(nearest) or "")
end

--- What a pool is to be opened with.
---@param flags table of the command line
---@param getenv fun(name: string): string|nil
---@return string[]|fleet.Discovery|nil where nil: this machine; or nil and an error
---@return fleet.Error|nil
function choose.where(flags, getenv)
  if not flags.discover then return flags.peers end
  if flags.peers then
    return usage("--peers and --discover both say which nodes to use: give one of them")
  end
  local source, err = choose.source(flags.discover, flags)
  if not source then return nil, err end
  local store = require("fleet.discovery.store")
  return require("fleet.discovery").new(source,
    source.question and store.new(store.folder(getenv), source.question))
end

return choose
