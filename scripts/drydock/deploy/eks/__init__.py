"""An EKS cluster in a test account, by Terraform."""
