# The registry for the server's image. Tags are immutable.

resource "aws_ecr_repository" "server" {
  name                 = "${var.name}-http"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
  }
}
