-- Settings for every moonfleet command on this machine: run, eval, repl, nodes, doctor, web and the
-- node itself. The keys are the names of flags with _ for - (`moonfleet help flags`). The file is
-- Lua, so values may be computed. A variable of the environment (MOONFLEET_TLS) wins over this file,
-- and a flag over both. Keep no secrets here: every account may read the file.
return {
  -- The release of this machine's programs; only nodes of the same release work together. Without
  -- it, it is the line in /etc/moonfleet/release, the tag of the EC2 instance, or the version.
  -- release = "r-1",

  -- The nodes to use, by address, for the commands that use nodes.
  -- peers = { "build1", "build2:5440" },

  -- How to find the nodes instead: "ec2", "dns:NAME" or "file:PATH".
  -- discover = "ec2",

  -- The tag of EC2 instances whose value is their release.
  -- tag_key = "moonfleet:release",

  -- Only EC2 instances that match these filters of DescribeInstances.
  -- filter = { "vpc-id=vpc-1234" },

  -- The AWS region. Without it, it is that of the environment, the profile or the instance.
  -- region = "eu-central-1",
}
