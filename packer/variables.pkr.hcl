# SPDX-License-Identifier: MIT
# What packer/deploy sets for each image; the last group is for machines that are not on EC2.

variable "release" {
  type        = string
  description = "Release of the image: its tag moonfleet:release, and /etc/moonfleet/release in it."
}
variable "fleet" {
  type        = string
  description = "Fleet that the image is for: its tag moonfleet:fleet. Nothing in the image depends on it."
}
variable "rpm" {
  type        = string
  description = "Path of the package to install, built on Amazon Linux 2023 for the same architecture."
}
variable "rpm_sha256" {
  type        = string
  description = "SHA-256 of the package, in hexadecimal, which the machine verifies before it installs it."
}
variable "region" {
  type        = string
  description = "Region in which the image is made."
}
variable "arch" {
  type        = string
  description = "Architecture: arm64 or x86_64."
  default     = "arm64"
}
variable "kernel" {
  type        = string
  description = "Kernel of the base image. Without it the newest image of any kernel would be taken."
  default     = "6.12"
}
variable "instance_type" {
  type        = string
  description = "Type of the machine on which the image is made. Default: a small one of the architecture."
  default     = ""
}
variable "subnet_id" {
  type        = string
  description = "Subnet of that machine. It needs a way to the package repositories. Default: EC2's choice."
  default     = ""
}
variable "kms_key_id" {
  type        = string
  description = "Key that encrypts the image's snapshot. Default: the account's key for EBS."
  default     = ""
}
variable "ssh_interface" {
  type        = string
  description = "Address that packer connects to, such as private_ip or public_ip. Default: packer's choice."
  default     = ""
}
variable "ssh_from" {
  type        = list(string)
  description = "Networks from which the machine admits ssh. Default: the public address of this machine."
  default     = []
}

# The rehearsal sets these; on EC2 they stay as they are.
variable "ec2_endpoint" {
  type        = string
  description = "URL of another EC2 service."
  default     = ""
}
variable "ssh_port" {
  type        = number
  description = "Port of sshd on the machine."
  default     = 22
}
variable "ssh_keypair_name" {
  type        = string
  description = "Name of a key pair that exists, instead of one for this build alone."
  default     = ""
}
variable "ssh_private_key_file" {
  type        = string
  description = "Private key of that pair."
  default     = ""
}
