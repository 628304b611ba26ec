# SPDX-License-Identifier: MIT
# What packer has to fetch: `packer init packer`. In a file of its own, because packer 1.6, which has
# this builder built in, cannot read such a block (scripts/packer-portable.sh leaves the file out).

packer {
  required_version = ">= 1.9.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}
