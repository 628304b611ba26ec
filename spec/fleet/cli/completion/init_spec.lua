-- SPDX-License-Identifier: MIT
local commands = require("fleet.cli.commands")
local completion = require("fleet.cli.completion")

describe("completion", function()
  it("knows what the value of a flag may be", function()
    local function of(flag) return completion.of_flag(flag) end
    assert.is_nil(of({ name = "json", type = "boolean" }))
    assert.same({ kind = "any", list = false }, of({ name = "n", type = "integer", value = "N" }))
    assert.same({ kind = "files", list = false }, of({ name = "o", type = "string",
      value = "FILE" }))
    assert.same({ kind = "folders", list = false }, of({ name = "d", type = "string",
      value = "DIR" }))
    assert.same({ kind = "folders", list = true }, of({ name = "p", type = "list",
      value = "DIRS" }))
    assert.same({ kind = "words", words = { "a", "b" }, list = false },
      of({ name = "c", type = "choice", choices = { "a", "b" } }))
    assert.same({ kind = "words", words = { "a" }, list = true },
      of({ name = "l", type = "list", value = "LIST", words = { "a" } }))
    assert.same({ kind = "nodes", list = false }, of({ name = "n", type = "string", value = "NAME",
      completes = "nodes" }))
  end)

  it("knows what each argument may be", function()
    local files, more = { kind = "files", suffix = ".lua" }, { kind = "files" }
    local run = { completes = { files, more } }
    assert.equal(files, completion.of_argument(run, 1))
    assert.equal(more, completion.of_argument(run, 2))
    assert.equal(more, completion.of_argument(run, 9))
    assert.same({ kind = "any" }, completion.of_argument({ completes = { more }, max_args = 1 }, 2))
    assert.same({ kind = "any" }, completion.of_argument({}, 1))
  end)

  it("leaves out what the help does not show", function()
    local shown = {}
    for _, flag in ipairs(completion.visible({ { name = "a" }, { name = "b", hidden = true } })) do
      shown[#shown + 1] = flag.name
    end
    assert.same({ "a" }, shown)
  end)

  it("completes only words that the flag takes", function()
    for _, owner in ipairs({ commands, table.unpack(commands) }) do
      for _, flag in ipairs(owner.flags) do
        if flag.type == "choice" then assert.same(flag.choices, completion.of_flag(flag).words) end
      end
    end
  end)

  it("has a script for each shell that the command offers", function()
    for _, command in ipairs(commands) do
      if command.name == "completion" then
        assert.same(completion.SHELLS, command.completes[1].words)
      end
    end
    for _, shell in ipairs(completion.SHELLS) do
      assert.matches("^# ?%l+ ?", completion.script(shell, commands))
    end
  end)
end)
