-- SPDX-License-Identifier: MIT
-- deploy/slurm.md on a real cluster of Slurm, as far as one machine goes.
-- Patient: Slurm takes a second for each step.

local e2e = require("spec.support.e2e")
local launching = require("spec.support.launching")
local slurm = require("spec.support.slurm")

describe("In a cluster of Slurm,", function()
  local world, environment

  before_each(function()
    world = e2e.new()
    local has, why = slurm.available()
    if not has then return pending(why) end
    environment = slurm.start(world, 2)
  end)
  after_each(function() world:close() end)

  local SQUARE = "return { map = function(n) return n * n end }"

  local function wait_for_empty_queue()
    e2e.wait_until("the end of all jobs of Slurm", function()
      return world:start({ "squeue", "-h" }, { env = environment }):wait().out == ""
    end, 30)
  end

  it("the batch script runs a job on a node for each task", function()
    local out, log = world:path("out.jsonl"), world:path("log")
    environment[2] = "MOONFLEET=" .. e2e.program
    local submitted = world:start({
      "sbatch", "--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1", "--output=" .. log,
      "deploy/slurm.sbatch", world:write("job.lua", SQUARE), "--items", "--output", out,
      "3", "4",
    }, { env = environment }):wait()
    assert.equal(0, submitted.code, submitted.err)
    wait_for_empty_queue()
    assert.matches("2 items .* 2 ok, 0 failed", e2e.read(log))
    local _, nodes = e2e.read(log):gsub("%d+%%", "") -- a share for each
    assert.equal(2, nodes, e2e.read(log))
    local results = e2e.results(e2e.read(out))
    assert.same({ 9, 16 }, { results[1].value, results[2].value })
  end)

  it("every byte passes through srun, both ways", function()
    local result = world:run({
      "run", "--launch", "srun --unbuffered --ntasks=1 " .. e2e.program
        .. " serve --stdio --workers 1",
      world:write("driver.lua", launching.ECHO),
    }, { env = environment })
    assert.same({ 0, "true\n" }, { result.code, result.out }, result.err)
    wait_for_empty_queue()
  end)

  it("srun without --unbuffered is named as what is wrong", function()
    local result = world:run({
      "eval", "--launch", "srun --ntasks=1 " .. e2e.program .. " serve --stdio --workers 1",
      "1 + 1",
    }, { env = environment })
    assert.equal(3, result.code)
    assert.matches("unchanged and at once (srun: --unbuffered)", result.err, 1, true)
  end)
end)
