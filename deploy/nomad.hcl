# A fleet on Nomad, with Consul: nomad job run deploy/nomad.hcl. deploy/nomad.md has the steps.
job "moonfleet" {
  type = "service"

  # A node that is told to end finishes its items first.
  update {
    max_parallel     = 1
    min_healthy_time = "5s"
    auto_revert      = true
  }

  group "node" {
    count = 3

    network {
      port "moonfleet" {}
      port "http" {}
    }

    # Drivers find the nodes as _moonfleet._tcp.service.consul, whose SRV records have the ports.
    service {
      name = "moonfleet"
      port = "moonfleet"

      check {
        type     = "http"
        port     = "http"
        path     = "/readyz"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "node" {
      driver = "exec"
      user   = "moonfleet"

      config {
        command = "/usr/bin/moonfleet"
        args = [
          "serve",
          "--listen", "tcp://${NOMAD_IP_moonfleet}:${NOMAD_PORT_moonfleet}",
          "--http", "${NOMAD_IP_http}:${NOMAD_PORT_http}", "--http-public",
          "--tls", "${NOMAD_SECRETS_DIR}",
          "--name", "${node.unique.name}",
          "--workers", "2",
          "--worker-memory", "700M",
          "--drain-timeout", "300",
        ]
      }

      # As long as --drain-timeout; the clients' max_kill_timeout must allow it.
      kill_signal  = "SIGTERM"
      kill_timeout = "330s"

      # The key pair of the nodes, from a variable of Nomad at the path of this job.
      template {
        destination   = "${NOMAD_SECRETS_DIR}/ca.crt"
        data          = "{{ with nomadVar \"nomad/jobs/moonfleet\" }}{{ .ca }}{{ end }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      template {
        destination   = "${NOMAD_SECRETS_DIR}/cert.pem"
        data          = "{{ with nomadVar \"nomad/jobs/moonfleet\" }}{{ .cert }}{{ end }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      template {
        destination   = "${NOMAD_SECRETS_DIR}/key.pem"
        data          = "{{ with nomadVar \"nomad/jobs/moonfleet\" }}{{ .key }}{{ end }}"
        perms         = "0600"
        change_mode   = "signal"
        change_signal = "SIGHUP"
      }

      resources {
        cores  = 2
        memory = 1536
      }
    }
  }
}
