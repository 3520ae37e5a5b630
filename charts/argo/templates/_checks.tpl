{{- /*
What would fail later. Each check names the key, the rule and what to set. Declared helpers:
  argo.check          settings of the chart; takes the root
  argo.checkPipeline  one pipeline: (dict "root" . "name" NAME "pipeline" PIPELINE)
*/ -}}

{{- define "argo.check" -}}
{{- $auth := .Values.server.auth -}}
{{- if .Values.server.enabled -}}
{{- if not (or $auth.client $auth.server $auth.sso.enabled) -}}
{{- fail "server.auth: no user could log in: set client, sso.enabled or server" -}}
{{- end -}}
{{- if $auth.server -}}
{{- range $name, $peer := .Values.server.networkPolicy.ingress -}}
{{- if and $peer (eq 1 (len $peer)) (hasKey $peer "namespaceSelector") (empty $peer.namespaceSelector) -}}
{{- fail (printf "server.networkPolicy.ingress.%s: with server.auth.server every pod of the cluster would have the server's own rights: name the namespace of the proxy that asks who people are" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $auth.sso.enabled (not (and $auth.sso.issuer $auth.sso.redirectUrl)) -}}
{{- fail "server.auth.sso: set issuer and redirectUrl" -}}
{{- end -}}
{{- if and $auth.sso.enabled $auth.sso.rbac (not (include "common.entryList" $auth.sso.groups | fromJsonArray)) -}}
{{- fail "server.auth.sso.groups: with rbac, who logs in may do only what an entry here allows: add one, or set rbac to false" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.archive.enabled (not .Values.archive.host) -}}
{{- fail "archive.host: set the host of the PostgreSQL database, or archive.enabled to false" -}}
{{- end -}}
{{- end -}}

{{- define "argo.checkPipeline" -}}
{{- $key := printf "pipelines.%s" .name -}}
{{- $pipeline := .pipeline -}}
{{- if not .root.Values.artifactRepository.bucket -}}
{{- fail (printf "artifactRepository.bucket: %s keeps its data there: set the name of an S3 bucket" $key) -}}
{{- end -}}
{{- range $name := list "data" "baseModel" "models" -}}
{{- if not (get $pipeline $name) -}}
{{- fail (printf "%s.%s: set it; see pipelineDefaults.%s" $key $name $name) -}}
{{- end -}}
{{- end -}}
{{- $name := include "argo.pipelineName" (tuple .root .name) -}}
{{- if and $pipeline.ray.enabled (gt (len $name) 41) -}}
{{- fail (printf "%s: KubeRay takes names of 47 characters, and a RayJob of %s has %d: choose a shorter one, of the pipeline or of the release" $key $name (add 6 (len $name))) -}}
{{- end -}}
{{- if not (has .namespace (include "argo.namespaces" .root | fromJsonArray)) -}}
{{- fail (printf "%s.namespace: %s is no namespace of workflows: add it to workflows.namespaces" $key .namespace) -}}
{{- end -}}
{{- if and $pipeline.deployment.enabled (not (or $pipeline.deployment.model $pipeline.deployment.name)) -}}
{{- fail (printf "%s.deployment.model: name the model of vllm.models that is to serve the result, or set deployment.enabled to false" $key) -}}
{{- end -}}
{{- if ge (addf $pipeline.validationShare $pipeline.testShare) 1.0 -}}
{{- fail (printf "%s: validationShare and testShare leave nothing to train on" $key) -}}
{{- end -}}
{{- end -}}
