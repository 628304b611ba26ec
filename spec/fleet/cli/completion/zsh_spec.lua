-- SPDX-License-Identifier: MIT
local completion_script = require("spec.support.completion_script")

describe("the completion script of zsh", function()
  it("is one that the shell reads, whatever the tables hold", function()
    completion_script.check_syntax("zsh")
  end)

  it("has every flag but hidden ones", function() completion_script.check_words("zsh") end)
end)
