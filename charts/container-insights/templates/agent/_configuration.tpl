{{- /* The agent's configuration, as JSON; takes the root. */ -}}
{{- define "container-insights.agentConfiguration" -}}
{{- $kubernetes := dict
      "cluster_name" (include "container-insights.clusterName" .)
      "metrics_collection_interval" (int .Values.agent.intervalSeconds)
      "enhanced_container_insights" .Values.agent.enhanced
      "accelerated_compute_metrics" (and .Values.agent.enhanced .Values.agent.acceleratedCompute) -}}
{{- $logs := dict "metrics_collected" (dict "kubernetes" $kubernetes) "force_flush_interval" 5 -}}
{{- dict "agent" (dict "region" (include "container-insights.region" .)) "logs" $logs | toPrettyJson -}}
{{- end -}}
