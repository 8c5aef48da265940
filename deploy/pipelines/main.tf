# Rotates a client secret with each apply if it is old enough, and stores the new one in a file. The state holds no secret.
# Run it on a schedule. It needs CROSSFADE_TOKEN, the command crossfade and a POSIX shell, and no provider.

terraform {
  required_version = ">= 1.5"
}

variable "crossfade_url" {
  description = "Address of the Crossfade server."
  type        = string
}

variable "client" {
  description = "Name of the client, which also confirms the rotation."
  type        = string
}

variable "environment" {
  description = "Environment of the registration."
  type        = string
}

variable "max_age" {
  description = "Age from which the secret is rotated."
  type        = string
  default     = "80d"
}

variable "transition" {
  description = "How long the old secret stays valid. Longer than the pause between two applies."
  type        = string
  default     = "48h"
}

variable "secret_file" {
  description = "File that holds the secret. It is replaced after a rotation, and left as it is otherwise."
  type        = string
}

resource "terraform_data" "rotation" {
  # Asks with each apply. Crossfade decides by the age of the secret.
  triggers_replace = plantimestamp()

  provisioner "local-exec" {
    # The key is kept beside the file until the file is complete. An apply that was stopped and is repeated within 10
    # minutes gets the same secret with it. Later, the apply fails until the secret is delivered.
    command = <<-EOT
      set -eu
      umask 077
      begun="$SECRET_FILE.rotating" interrupted=
      if [ -s "$begun" ]; then interrupted=yes; else printf %s "$KEY" >"$begun"; fi
      status=0
      crossfade secret rotate --env="$ENVIRONMENT" --transition="$TRANSITION" --confirm="$CLIENT" \
        --reason="terraform apply" --if-older-than="$MAX_AGE" --exit-code --output="$SECRET_FILE" \
        --idempotency-key="$(cat "$begun")" -- "$CLIENT" || status=$?
      case $status in
        0) ;;
        8) echo "young enough" ;;
        # Not used yet. The file has it, unless an apply was stopped or this is another machine.
        9) [ -z "$interrupted" ] && [ -s "$SECRET_FILE" ] || exit 9 ;;
        2 | 3 | 4 | 5) [ -n "$interrupted" ] || rm -f "$begun"; exit "$status" ;;
        *) exit "$status" ;;
      esac
      rm -f "$begun"
    EOT
    environment = {
      CROSSFADE_URL = var.crossfade_url
      CLIENT        = var.client
      ENVIRONMENT   = var.environment
      MAX_AGE       = var.max_age
      TRANSITION    = var.transition
      SECRET_FILE   = var.secret_file
      KEY           = uuid()
    }
  }
}
