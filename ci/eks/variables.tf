variable "account_id" {
  description = "AWS account that everything is made in; with credentials of another one Terraform stops."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id: give the 12 digits of the AWS account."
  }
}

variable "region" {
  description = "AWS Region."
  type        = string
}

variable "cluster_name" {
  description = "Name of the cluster, `global.clusterName` of the charts, and the stem of every name below."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,33}[a-z0-9]$", var.cluster_name))
    error_message = "cluster_name: lower-case letters, digits and hyphens, 2 to 35 of them, a letter first and no hyphen last."
  }
}

variable "environment" {
  description = "Name of the environment that is deployed."
  type        = string
}

variable "owner" {
  description = "Who answers for the cluster; a tag on everything."
  type        = string

  validation {
    condition     = can(regex("^[\\pL\\pN _.:/+@-]{1,256}$", var.owner))
    error_message = "owner: letters, digits, spaces and _ . : / + - @ only, as a tag on everything."
  }
}

variable "expires_at" {
  description = "When everything may be removed, RFC 3339 in UTC; a tag of the cluster and of its VPC."
  type        = string

  validation {
    condition     = can(formatdate("YYYY", var.expires_at))
    error_message = "expires_at: give a time such as 2026-11-21T18:00:00Z."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes version of the cluster, as EKS has it. `drydock deploy` takes it from the environment's target."
  type        = string
  default     = "1.36"

  validation {
    condition     = can(regex("^1\\.[0-9]+$", var.kubernetes_version))
    error_message = "kubernetes_version: give a minor version such as 1.36."
  }
}

variable "extended_support" {
  description = "Keep a version that has left standard support, at six times the price; otherwise EKS upgrades the cluster then."
  type        = bool
  default     = false
}

variable "default_storage_class" {
  description = "Let the EBS driver make a default StorageClass: EKS itself has none since Kubernetes 1.30."
  type        = bool
  default     = true
}

variable "efs" {
  description = "The EFS driver, and a file system for the StorageClass `efs`."
  type        = bool
  default     = false
}

variable "fsx" {
  description = "The driver of FSx for Lustre."
  type        = bool
  default     = false
}

variable "auto_mode" {
  description = "Let EKS Auto Mode run the nodes: no node group, no Karpenter, no add-ons that Auto Mode brings."
  type        = bool
  default     = false
}

variable "zones" {
  description = "Availability zones of a new VPC. Empty takes the first three of the Region."
  type        = list(string)
  default     = []
}

variable "vpc" {
  description = "An existing VPC with private subnets for nodes, in place of a new one. The subnets get the discovery tag."
  type = object({
    id                 = string
    private_subnet_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc == null || try(length(var.vpc.private_subnet_ids) >= 2, false)
    error_message = "vpc.private_subnet_ids: EKS needs subnets in two zones at least."
  }
}

variable "vpc_cidr" {
  description = "Addresses of a new VPC."
  type        = string
  default     = "10.42.0.0/16"
}

variable "public_access_cidrs" {
  description = "Addresses that reach the API server from outside of the VPC. Empty keeps it private."
  type        = list(string)
  default     = []

  # The rule of `drydock validate` for load balancers: no owner has more than a /8 of IPv4 or a /19 of IPv6.
  validation {
    condition = alltrue([for range in var.public_access_cidrs : can(cidrhost(range, 0))]) && sum(concat([0], [
      for range in var.public_access_cidrs : try(pow(2, (strcontains(range, ":") ? 19 : 8) - tonumber(split("/", range)[1])), 1)
    ])) <= 1
    error_message = "public_access_cidrs: the API server is not opened to the internet; name your own networks, together at most a /8."
  }
}

variable "admin_role_arns" {
  description = "IAM roles or users that administer the cluster, besides the one that deployed last."
  type        = list(string)
  default     = []
}

variable "system_nodes" {
  description = "Nodes of the managed node group, on which controllers run."
  type = object({
    instance_types = optional(list(string), ["m5.xlarge"])
    count          = optional(number, 2)
  })
  default = {}

  validation {
    condition     = var.system_nodes.count >= 2
    error_message = "system_nodes.count: Karpenter runs twice, on two nodes; give 2 or more."
  }

  validation {
    condition     = !anytrue([for type in var.system_nodes.instance_types : can(regex("^([a-z]+[0-9]+g[a-z]*|a1|g5g)\\.", type))])
    error_message = "system_nodes.instance_types: the nodes' image is for x86-64; name no Graviton type."
  }
}

variable "namespace" {
  description = "Namespace of the Helm release."
  type        = string
  default     = "genai"
}

variable "service_accounts" {
  description = "ServiceAccounts that get AWS rights through Pod Identity, by what they need: models, data, training, evaluation, deployment, read_artifacts, audit_log, container_insights."
  type        = map(list(string))
  default     = {}

  validation {
    condition     = length(flatten(values(var.service_accounts))) == length(distinct(flatten(values(var.service_accounts))))
    error_message = "service_accounts: EKS gives an account one role, so name each once; `training` and `evaluation` may read models too."
  }

  validation {
    condition     = length(setsubtract(keys(var.service_accounts), ["models", "data", "training", "evaluation", "deployment", "read_artifacts", "audit_log", "container_insights"])) == 0
    error_message = "service_accounts: the rights are models, data, training, evaluation, deployment, read_artifacts, audit_log and container_insights."
  }
}

variable "artifact_prefix" {
  description = "What the keys of artifacts begin with before the namespace: `argo.artifactRepository.prefix` and a slash, or nothing."
  type        = string
  default     = "workflows/"
}

variable "tuned_prefix" {
  description = "What the keys of trained models begin with in the bucket of models; pipelines may write nothing else there."
  type        = string
  default     = "tuned/"
}

variable "compiled_prefix" {
  description = "What the keys of compiled models begin with in the bucket of models; engines may write nothing else there."
  type        = string
  default     = "compiled/"
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 14
}

variable "artifact_days" {
  description = "Days that artifacts of workflows are kept."
  type        = number
  default     = 30
}

variable "audit_days" {
  description = "Days that the audit log is kept."
  type        = number
  default     = 365
}

variable "keep_buckets" {
  description = "Refuse to remove buckets that still hold objects, and lock the audit log for audit_days."
  type        = bool
  default     = false
}

variable "capacity_reservation" {
  description = "An On-Demand Capacity Reservation to make for the GPU pool; it costs money from its first second."
  type = object({
    instance_type = string
    zone          = string
    count         = number
  })
  default = null
}

variable "budget" {
  description = "Monthly budget in US dollars for what carries this cluster's tag, and who is notified at 80 % of it. Counts nothing until drydock.dev/cluster is a cost allocation tag of the account."
  type = object({
    dollars = number
    emails  = list(string)
  })
  default = null

  validation {
    condition     = var.budget == null || try(length(var.budget.emails) > 0, false)
    error_message = "budget.emails: AWS refuses an alarm without a recipient."
  }
}

variable "make_spot_role" {
  description = "Make the service-linked role of EC2 Spot, which an account has once; false where it is there."
  type        = bool
  default     = false
}

variable "adopt_log_group" {
  description = "Take over the log group of an earlier cluster of this name, which EKS left in the account."
  type        = bool
  default     = false
}

variable "adopt_node_entry" {
  description = "Take over the access entry that EKS made for the nodes' role, in clusters that were made before it was Terraform's."
  type        = bool
  default     = false
}
