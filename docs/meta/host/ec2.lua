---@meta host.ec2
-- SPDX-License-Identifier: MIT
-- Answers of EC2 (host/lib_ec2.c).

local ec2 = {}

--- @class host.Ec2Instance
--- @field id string
--- @field state? string "running", "stopped", ...
--- @field zone? string
--- @field launched? string a date as EC2 writes it
--- @field private_v4? string
--- @field public_v4? string
--- @field private_v6? string the first of its IPv6 addresses
--- @field public_v6? string the first that is not of fc00::/7
--- @field tags table<string, string>

--- Reads a page of DescribeInstances.
---@param bytes string XML
---@return {instances: host.Ec2Instance[], next_token: string|nil}|nil
---@return fleet.Error|nil of kind "decode", "too_large", "timeout" or "memory"
function ec2.parse(bytes) end

return ec2
