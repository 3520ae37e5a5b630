resource "aws_ec2_capacity_reservation" "gpu" {
  count = var.capacity_reservation == null ? 0 : 1

  instance_type           = var.capacity_reservation.instance_type
  instance_platform       = "Linux/UNIX"
  availability_zone       = var.capacity_reservation.zone
  instance_count          = var.capacity_reservation.count
  instance_match_criteria = "targeted"
  end_date_type           = "limited"
  end_date                = var.expires_at

  tags = { Name = "${local.name}-gpu" }
}

resource "aws_budgets_budget" "this" {
  count = var.budget == null ? 0 : 1

  name         = local.name
  budget_type  = "COST"
  limit_amount = tostring(var.budget.dollars)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:drydock.dev/cluster$%s", local.name)]
  }

  dynamic "notification" {
    for_each = { forecast = "FORECASTED", actual = "ACTUAL" }

    content {
      notification_type          = notification.value
      comparison_operator        = "GREATER_THAN"
      threshold                  = 80
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.budget.emails
    }
  }
}
