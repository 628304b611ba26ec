-- SPDX-License-Identifier: MIT
require("spec.support.completion_script")("fish")
