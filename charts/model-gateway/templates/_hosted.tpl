{{- /*
Models of providers. Declared helpers:
  model-gateway.providers    accounts that are not null, as JSON; takes the root
  model-gateway.models       models as the Python files read them, those of providers with what is known of them, as JSON; the same
  model-gateway.checkHosted  fails on what a hosted model cannot be; takes the root, its NAME and its entry
  model-gateway.regions      where a model of Bedrock may be processed, as JSON, empty where it is not known; takes
                             (dict "root" . "id" ID "region" REGION "known" BOOLEAN)
*/ -}}

{{- define "model-gateway.providers" -}}
{{- include "common.entries" .Values.providers -}}
{{- end -}}

{{- define "model-gateway.models" -}}
{{- $root := . -}}
{{- $providers := include "model-gateway.providers" . | fromJson -}}
{{- $models := include "common.entries" .Values.models | fromJson -}}
{{- $listed := dict -}}
{{- range $name, $model := $models -}}
{{- if $model.provider -}}
{{- if not $listed }}{{ $listed = ($root.Files.Get "files/hosted-models.yaml" | fromYaml).models }}{{ end -}}
{{- include "model-gateway.checkHosted" (tuple $root $name $model $listed) -}}
{{- $provider := get $providers $model.provider -}}
{{- $id := $model.id | default $name -}}
{{- $known := get (get $listed $provider.kind | default dict) $id | default dict -}}
{{- $region := $provider.region | default (include "common.global" (tuple $root "region")) -}}
{{- $hosted := dict "kind" $provider.kind "id" $id -}}
{{- with $provider.url }}{{ $_ := set $hosted "url" . }}{{ end -}}
{{- if eq $provider.kind "bedrock" }}{{ $_ := set $hosted "region" $region }}{{ end -}}
{{- with $known }}{{ $_ := set $hosted "prices" (dict "inputPerMillionTokens" .input "outputPerMillionTokens" .output) }}{{ end -}}
{{- $_ := set $model "hosted" $hosted -}}
{{- with $provider.apiKeySecret }}{{ if .name }}{{ $_ := set $model "apiKeySecret" . }}{{ end }}{{ end -}}
{{- $context := $model.contextTokens | default $known.context -}}
{{- with $context }}{{ $_ := set $model "contextTokens" (int .) }}{{ end -}}
{{- $regions := $model.regions | default $provider.regions -}}
{{- if and (not $regions) (eq $provider.kind "bedrock") -}}
{{- $regions = include "model-gateway.regions" (dict "root" $root "id" $id "region" $region "known" (not (empty $known))) | fromJsonArray -}}
{{- end -}}
{{- with $regions }}{{ $_ := set $model "regions" . }}{{ end -}}
{{- else if $model.id -}}
{{- fail (printf "models.%s.id: only a hosted model has another name at its provider: set provider, or leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $models -}}
{{- end -}}

{{- define "model-gateway.regions" -}}
{{- $geography := splitList "." .id | first -}}
{{- $profiles := (.root.Files.Get "files/inference-profiles.yaml" | fromYaml).regions -}}
{{- if hasKey $profiles $geography -}}
{{- append (get $profiles $geography) .region | uniq | sortAlpha | toJson -}}
{{- else if .known -}}
{{- list .region | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "model-gateway.checkHosted" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $model := index . 2 -}}{{- $listed := index . 3 -}}
{{- $providers := include "model-gateway.providers" $root | fromJson -}}
{{- $path := printf "models.%s" $name -}}
{{- if not (hasKey $providers $model.provider) -}}
{{- fail (printf "%s.provider: there is no provider %s: add it to providers, or name one of [%s]" $path $model.provider (keys $providers | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if or $model.url $model.apiKeySecret $model.scaleToZero -}}
{{- fail (printf "%s: a hosted model has the url and the key of its provider, and no pods: leave out url, apiKeySecret and scaleToZero" $path) -}}
{{- end -}}
{{- $provider := get $providers $model.provider -}}
{{- $account := printf "providers.%s" $model.provider -}}
{{- $secret := ($provider.apiKeySecret | default dict).name -}}
{{- $id := $model.id | default $name -}}
{{- if and $secret (not $provider.apiKeySecret.key) -}}
{{- fail (printf "%s.apiKeySecret.key: set the key in Secret %s" $account $secret) -}}
{{- end -}}
{{- if eq $provider.kind "bedrock" -}}
{{- if $secret }}{{ fail (printf "%s.apiKeySecret: Amazon Bedrock takes the role of the ServiceAccount: leave the key out" $account) }}{{ end -}}
{{- if not (or $provider.region (include "common.global" (tuple $root "region"))) -}}
{{- fail (printf "%s.region: no region to call: set it, or global.region" $account) -}}
{{- end -}}
{{- if hasPrefix "arn:" $id -}}
{{- fail (printf "%s.id: name the model or the inference profile by its ID, which shows the model and where it runs, not by an ARN" $path) -}}
{{- end -}}
{{- else if eq $provider.kind "openaiCompatible" -}}
{{- if not $provider.url }}{{ fail (printf "%s.url: set the URL of the API, without /v1" $account) }}{{ end -}}
{{- else if not $secret -}}
{{- fail (printf "%s.apiKeySecret: set name and key of the Secret with the API key" $account) -}}
{{- end -}}
{{- if not (or $model.prices (eq $provider.kind "openaiCompatible") (hasKey (get $listed $provider.kind | default dict) $id)) -}}
{{- fail (printf "%s.prices: what %s costs is not known, so that no budget would count it: set prices, or correct the id" $path $id) -}}
{{- end -}}
{{- end -}}
