{{- /*
What is asked for, with the defaults below it. Declared helpers, each of which gives JSON:
  kuberay.clusters  every RayCluster in the order of its name: a list of NAME, CLUSTER and NAMESPACE; takes the root
  kuberay.services  every enabled RayService in that order: a list of NAME, SERVICE, its CLUSTER and NAMESPACE; takes the root
  kuberay.ownNamespaces  namespaces of clusters and services that are not the release's: a list; takes the root
  kuberay.cluster   (tuple . OWN) a cluster with defaults below it and below each of its groups of workers
  kuberay.checkName  refuses a name of the chart's own objects
*/ -}}

{{- define "kuberay.clusters" -}}
{{- $found := list -}}
{{- range $name := keys .Values.rayClusters | sortAlpha -}}
{{- $own := get $.Values.rayClusters $name -}}
{{- if not (kindIs "invalid" $own) -}}
{{- include "kuberay.checkName" $name -}}
{{- $cluster := include "kuberay.cluster" (tuple $ $own) | fromJson -}}
{{- $found = append $found (dict "name" $name "cluster" $cluster "namespace" ($cluster.namespace | default $.Release.Namespace)) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "kuberay.services" -}}
{{- $found := list -}}
{{- range $name := keys .Values.rayServices | sortAlpha -}}
{{- $own := get $.Values.rayServices $name -}}
{{- if not (kindIs "invalid" $own) -}}
{{- $service := include "common.merge" (tuple $.Values.serviceDefaults $own) | fromJson -}}
{{- if $service.enabled -}}
{{- include "kuberay.checkName" $name -}}
{{- if hasKey $.Values.rayClusters $name -}}
{{- fail (printf "rayServices.%s: a cluster of rayClusters has that name too: choose another" $name) -}}
{{- end -}}
{{- $cluster := include "kuberay.cluster" (tuple $ $service.cluster) | fromJson -}}
{{- $found = append $found (dict "name" $name "service" $service "cluster" $cluster "namespace" ($cluster.namespace | default $.Release.Namespace)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "kuberay.ownNamespaces" -}}
{{- $found := list -}}
{{- range concat (include "kuberay.clusters" . | fromJsonArray) (include "kuberay.services" . | fromJsonArray) -}}
{{- if ne .namespace $.Release.Namespace }}{{ $found = append $found .namespace }}{{ end -}}
{{- end -}}
{{- $found | uniq | sortAlpha | toJson -}}
{{- end -}}

{{- define "kuberay.checkName" -}}
{{- if has . (list "applications" "operator" "ray") -}}
{{- fail (printf "%s: objects of the chart have that name: choose another" .) -}}
{{- end -}}
{{- end -}}

{{- define "kuberay.cluster" -}}
{{- $root := index . 0 -}}
{{- $cluster := include "common.merge" (tuple $root.Values.clusterDefaults (index . 1)) | fromJson -}}
{{- $workers := dict -}}
{{- range $name, $own := $cluster.workers -}}
{{- if not (kindIs "invalid" $own) -}}
{{- $worker := include "common.merge" (tuple $root.Values.workerDefaults $own) | fromJson -}}
{{- if and (ne $worker.accelerator.kind "nvidia") (not (dig "accelerator" "pool" "" $own)) -}}
{{- $_ := set $worker.accelerator "pool" "" -}}
{{- end -}}
{{- $_ := set $workers $name $worker -}}
{{- end -}}
{{- end -}}
{{- $_ := set $cluster "workers" $workers -}}
{{- toJson $cluster -}}
{{- end -}}
