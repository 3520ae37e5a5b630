"""What an environment consists of: images, bill of materials, picture."""
