# Rotates a client secret with each apply if it is old enough, and stores the new one in a file. The state holds no secret.
# Run it on a schedule. It needs CROSSFADE_TOKEN and the command crossfade, and no provider.

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

variable "secret_file" {
  description = "File that holds the secret. It is replaced after a rotation, and left as it is otherwise."
  type        = string
}

resource "terraform_data" "rotation" {
  # Asks with each apply. Crossfade decides by the age of the secret.
  triggers_replace = plantimestamp()

  provisioner "local-exec" {
    command = <<-EOT
      crossfade secret rotate "$CLIENT" --env "$ENVIRONMENT" --transition 24h --confirm "$CLIENT" \
        --reason "terraform apply" --if-older-than "$MAX_AGE" --output "$SECRET_FILE"
    EOT
    environment = {
      CROSSFADE_URL = var.crossfade_url
      CLIENT        = var.client
      ENVIRONMENT   = var.environment
      MAX_AGE       = var.max_age
      SECRET_FILE   = var.secret_file
    }
  }
}
