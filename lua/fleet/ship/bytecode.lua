-- SPDX-License-Identifier: MIT
-- Reads what string.dump(f, true) gives, so that two functions can be compared
-- and the globals that one uses be known. Bytecode is only looked at, here, and
-- never travels. The format is that of Lua 5.4; opcodes are those of lopcodes.h.

local bytecode = {}

local unpack, byte, sub = string.unpack, string.byte, string.sub

-- Signature, version, format, LUAC_DATA, sizes of an instruction, an integer and a float, an
-- integer and a float to see that they are as here. A byte with the number of upvalues follows.
local HEADER = "\27Lua\x54\0\x19\x93\r\n\x1a\n\4\8\8" .. string.pack("=i8n", 0x5678, 370.5)

local OP_GETUPVAL, OP_GETTABUP = 9, 11
local TYPE_INTEGER, TYPE_FLOAT, TYPE_SHORT, TYPE_LONG = 0x03, 0x13, 0x04, 0x14

--- @class fleet.Prototype
--- @field body string all but line numbers, upvalues and nested functions
--- @field lines string first and last line, encoded
--- @field code string its instructions
--- @field constants any[] strings; false for constants of other types
--- @field upvalues {[1]: boolean, [2]: integer}[] in the enclosing function: a local or an
---   upvalue of it, and which
--- @field nested fleet.Prototype[]

--- A number of 7 bits a byte, highest first; the last byte has its top bit set.
local function size_at(dump, at)
  local n = 0
  while true do
    local b = byte(dump, at)
    n, at = n << 7 | b & 0x7f, at + 1
    if b >= 0x80 then return n, at end
  end
end

--- A string, nil when there is none, and the position behind it.
local function string_at(dump, at)
  local size
  size, at = size_at(dump, at)
  if size == 0 then return nil, at end
  return sub(dump, at, at + size - 2), at + size - 1
end

local function constants_at(dump, at)
  local list, count = {}
  count, at = size_at(dump, at)
  for i = 1, count do
    local kind = byte(dump, at)
    at = at + 1
    list[i] = false
    if kind == TYPE_INTEGER or kind == TYPE_FLOAT then
      at = at + 8
    elseif kind == TYPE_SHORT or kind == TYPE_LONG then
      list[i], at = string_at(dump, at)
    end
  end
  return list, at
end

--- What an upvalue is in its function's outer scope; whether it is const there (a third
--- byte) changes nothing in the code.
local function upvalues_at(dump, at)
  local list, count = {}
  count, at = size_at(dump, at)
  for i = 1, count do
    local in_stack, index = byte(dump, at, at + 1)
    list[i], at = { in_stack == 1, index }, at + 3
  end
  return list, at
end

--- Behind the tables that serve debugging, empty but for a few counts when stripped.
local function skip_debug(dump, at)
  local count
  count, at = size_at(dump, at) -- line of each instruction
  at = at + count
  count, at = size_at(dump, at) -- absolute lines, pairs
  for _ = 1, 2 * count do _, at = size_at(dump, at) end
  count, at = size_at(dump, at) -- local variables
  for _ = 1, count do
    _, at = string_at(dump, at)
    _, at = size_at(dump, at)
    _, at = size_at(dump, at)
  end
  count, at = size_at(dump, at) -- names of upvalues
  for _ = 1, count do _, at = string_at(dump, at) end
  return at
end

local function prototype_at(dump, at)
  local p = { nested = {} }
  local count, _
  _, at = string_at(dump, at) -- source
  local from = at
  _, at = size_at(dump, at)
  _, at = size_at(dump, at)
  p.lines = sub(dump, from, at - 1)
  from = at
  count, at = size_at(dump, at + 3) -- parameters, vararg, stack size
  p.code, at = sub(dump, at, at + 4 * count - 1), at + 4 * count
  p.constants, at = constants_at(dump, at)
  p.body = sub(dump, from, at - 1)
  p.upvalues, at = upvalues_at(dump, at)
  count, at = size_at(dump, at)
  for i = 1, count do p.nested[i], at = prototype_at(dump, at) end
  return p, skip_debug(dump, at)
end

--- Reads a dump. Raises when it is of another version of Lua.
---@param dump string
---@return fleet.Prototype
function bytecode.read(dump)
  if sub(dump, 1, #HEADER) ~= HEADER then
    error("bytecode.read: not a dump of this machine's Lua 5.4", 2)
  end
  return (prototype_at(dump, #HEADER + 2))
end

local function add_identity(p, pieces)
  pieces[#pieces + 1] = p.body
  for _, inner in ipairs(p.nested) do
    pieces[#pieces + 1] = inner.lines
    for _, upvalue in ipairs(inner.upvalues) do
      pieces[#pieces + 1] = upvalue[1] and "local" or "upvalue"
      pieces[#pieces + 1] = upvalue[2]
    end
    add_identity(inner, pieces)
  end
end

--- A string that two functions share when they do the same with the same upvalues: their
--- code is the same, and so are lines and code of the functions inside. The function's own
--- lines, and where its upvalues come from, do not matter.
---@param p fleet.Prototype
---@return string
function bytecode.identity(p)
  local pieces = {}
  add_identity(p, pieces)
  return table.concat(pieces, "\0")
end

local function add_globals(p, env, names)
  for at = 1, #p.code, 4 do
    local instruction = unpack("=I4", p.code, at)
    local op, b, c = instruction & 0x7f, instruction >> 16 & 0xff, instruction >> 24
    if op == OP_GETTABUP and b == env then
      names[p.constants[c + 1]] = true
    elseif op == OP_GETUPVAL and b == env then
      -- The table itself is taken, by `_ENV` in the text or for a name whose constant has too
      -- high a number for the instruction: any string may be a name then.
      for _, constant in ipairs(p.constants) do
        if constant and names[constant] == nil then names[constant] = false end
      end
    end
  end
  for _, inner in ipairs(p.nested) do
    for index, upvalue in ipairs(inner.upvalues) do
      if not upvalue[1] and upvalue[2] == env then add_globals(inner, index - 1, names) end
    end
  end
end

--- The names of the globals that a function, or one inside it, reads: true for each, or
--- false when it only may be one.
---@param p fleet.Prototype
---@param env integer which of its upvalues is _ENV; 1 is the first
---@return table<string, boolean>
function bytecode.globals(p, env)
  local names = {}
  add_globals(p, env - 1, names)
  return names
end

return bytecode
