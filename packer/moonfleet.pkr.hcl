# SPDX-License-Identifier: MIT
# The image of a release: Amazon Linux 2023 with the package, and nothing of a fleet. An instance finds
# out its fleet from its tag, and gets its keys from SSM when it starts. `packer/deploy` calls this;
# docs/deploy.md describes it. Lines between "packer>=1.7" are unknown to packer 1.6.

locals {
  types = { arm64 = "t4g.small", x86_64 = "t3.small" }
  type  = var.instance_type != "" ? var.instance_type : local.types[var.arch]

  # The release of an image never changes, so its name has no time in it: EC2 refuses a second one.
  name = "moonfleet/${var.fleet}/${var.release}/${var.arch}"

  tags = {
    Name                   = local.name
    "moonfleet:release"    = var.release
    "moonfleet:fleet"      = var.fleet
    "moonfleet:rpm-sha256" = var.rpm_sha256
  }

  # Drivers take every running instance with the tag moonfleet:release for a node, so the machine on
  # which the image is made has another one.
  build_tags = {
    Name               = "packer ${local.name}"
    "moonfleet:baking" = var.release
    "moonfleet:fleet"  = var.fleet
  }
}

source "amazon-ebs" "al2023" {
  region        = var.region
  instance_type = local.type
  subnet_id     = var.subnet_id

  ami_name        = local.name
  ami_description = "moonfleet ${var.release} on Amazon Linux 2023"

  source_ami_filter {
    filters = {
      name                = "al2023-ami-2023.*-kernel-${var.kernel}-${var.arch}"
      architecture        = var.arch
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["amazon"]
    most_recent = true
  }

  # The volume is encrypted from the start, and so are its snapshots.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    encrypted             = true
    kms_key_id            = var.kms_key_id
    volume_size           = 8
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  # packer>=1.7 begin
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  temporary_key_pair_type                   = "ed25519"
  temporary_security_group_source_public_ip = true
  # packer>=1.7 end
  temporary_security_group_source_cidrs = var.ssh_from

  # A machine that packer could not terminate, because it was killed, terminates itself.
  user_data         = "#!/bin/sh\nshutdown -P +60\n"
  shutdown_behavior = "terminate"

  ssh_username         = "ec2-user"
  ssh_interface        = var.ssh_interface
  ssh_port             = var.ssh_port
  ssh_timeout          = "10m"
  ssh_keypair_name     = var.ssh_keypair_name
  ssh_private_key_file = var.ssh_private_key_file

  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = local.build_tags
  run_volume_tags = local.build_tags

  custom_endpoint_ec2        = var.ec2_endpoint
  skip_credential_validation = var.ec2_endpoint != ""
  skip_region_validation     = var.ec2_endpoint != ""
  skip_metadata_api_check    = var.ec2_endpoint != ""
}

build {
  name    = "moonfleet"
  sources = ["source.amazon-ebs.al2023"]

  provisioner "file" {
    source      = var.rpm
    destination = "/tmp/moonfleet.rpm"
  }

  # When this fails, packer terminates the machine, and there is no image.
  provisioner "shell" {
    script          = "${path.root}/provision.sh"
    execute_command = "sudo env {{ .Vars }} bash {{ .Path }}"
    environment_vars = [
      "MOONFLEET_RELEASE=${var.release}",
      "MOONFLEET_RPM=/tmp/moonfleet.rpm",
      "MOONFLEET_RPM_SHA256=${var.rpm_sha256}",
    ]
  }
}
