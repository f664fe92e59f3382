# Where the server's image goes. A tag that is there cannot be moved to other contents.

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
