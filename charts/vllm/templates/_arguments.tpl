{{- /*
The command line of `vllm serve`. Declared helpers, each for a model's context unless said otherwise:
  vllm.command        command of the container, as JSON
  vllm.arguments      its arguments as JSON: the model, then the rest by name
  vllm.argumentMap    arguments by name, before they are checked and spelt out, as JSON
  vllm.modelPath      what vllm serve is to serve: an id on the Hub or a folder
  vllm.followsFolder  "true" if an annotation of the pods may name a folder of the model below that path
  vllm.loadStrategy   how weights of a network volume are read, or nothing
  vllm.servedName     name of the model in requests
  vllm.tensorParallelSize  devices that share each layer
  vllm.pipelineParallelSize  groups of devices that share the layers
  vllm.loraModules    LoRA adapters as vLLM wants them, as JSON
  vllm.loraRank       least of the ranks that vLLM takes that all adapters fit, or nothing when no adapter says its own
  vllm.version        release of vLLM in the image, or unchecked
  vllm.known          what that release knows of arguments, as JSON; empty when unchecked
  vllm.checkArgument  (dict "key" KEY "name" NAME "value" VALUE "version" VERSION "known" KNOWN "rules" RULES) fails on what
                      the release does not take
  vllm.spell          (tuple NAME VALUE) one argument as a JSON list of words
*/ -}}

{{- define "vllm.command" -}}
{{- toJson (list "vllm" "serve") -}}
{{- end -}}

{{- define "vllm.arguments" -}}
{{- $words := list (printf "%s%s" (include "vllm.modelPath" .) (empty (include "vllm.followsFolder" .) | ternary "" "$(DRYDOCK_MODEL_FOLDER)")) -}}
{{- $arguments := include "vllm.argumentMap" . | fromJson -}}
{{- range $name := keys $arguments | sortAlpha -}}
{{- $words = concat $words (include "vllm.spell" (tuple $name (get $arguments $name)) | fromJsonArray) -}}
{{- end -}}
{{- toJson $words -}}
{{- end -}}

{{- define "vllm.argumentMap" -}}
{{- $model := .model -}}
{{- $engine := $model.engine -}}
{{- $known := include "vllm.known" . | fromJson -}}
{{- $check := dict "known" $known "version" (include "vllm.version" .) "rules" (.root.Files.Get "files/arguments/rules.yaml" | fromYaml) -}}
{{- $arguments := dict "port" 8000 "served-model-name" (include "vllm.servedName" .) -}}
{{- if eq (include "vllm.source" .) "huggingFace" -}}
{{- with $model.source.huggingFace.revision }}{{ $_ := set $arguments "revision" . }}{{ end -}}
{{- end -}}
{{- if or (not $known) (has "shutdown-timeout" $known.value) -}}
{{- $_ := set $arguments "shutdown-timeout" $model.shutdown.drainSeconds -}}
{{- end -}}
{{- $_ := set $arguments "tensor-parallel-size" (include "vllm.tensorParallelSize" . | int) -}}
{{- $_ := set $arguments "pipeline-parallel-size" (include "vllm.pipelineParallelSize" . | int) -}}
{{- $arguments = merge $arguments (include "vllm.multiNode.arguments" . | fromJson) (include "vllm.side.arguments" . | fromJson) -}}
{{- if $engine.chatTemplate }}{{ $_ := set $arguments "chat-template" "/etc/vllm/chat-template.jinja" }}{{ end -}}
{{- if $engine.toolCallParser }}{{ $_ := set $arguments "enable-auto-tool-choice" true }}{{ end -}}
{{- with include "vllm.loraModules" . | fromJsonArray -}}
{{- $_ := set $arguments "enable-lora" true -}}
{{- $_ := set $arguments "lora-modules" . -}}
{{- with include "vllm.loraRank" $ }}{{ $_ := set $arguments "max-lora-rank" (int .) }}{{ end -}}
{{- end -}}
{{- if $model.apiKeySecret.name }}{{ $_ := set $arguments "middleware" "require_api_key.RequireApiKey" }}{{ end -}}
{{- range $key, $value := omit $engine "kind" "servedModelName" "tensorParallelSize" "pipelineParallelSize" "chatTemplate" "loraAdapters" -}}
{{- if not (or (kindIs "invalid" $value) (and (kindIs "string" $value) (empty $value)) (and (kindIs "map" $value) (empty $value))) -}}
{{- $name := kebabcase $key -}}
{{- include "vllm.checkArgument" (merge (dict "key" (printf "models.%s.engine.%s" $.name $key) "name" $name "value" $value) $check) -}}
{{- $_ := set $arguments $name $value -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $model.extraArgs -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $key := printf "models.%s.extraArgs.%s" $.name $name -}}
{{- include "vllm.checkArgument" (merge (dict "key" $key "name" $name "value" $value) $check) -}}
{{- if hasKey $arguments $name -}}
{{- fail (printf "%s: --%s is set already, by engine or another key of the model: set it there" $key $name) -}}
{{- end -}}
{{- $_ := set $arguments $name $value -}}
{{- end -}}
{{- end -}}
{{- with include "vllm.loadStrategy" . -}}
{{- if not (or (hasKey $arguments "safetensors-load-strategy") (hasKey $arguments "load-format")) }}{{ $_ := set $arguments "safetensors-load-strategy" . }}{{ end -}}
{{- end -}}
{{- toJson $arguments -}}
{{- end -}}

{{- /*
The chart argo deploys a model by the annotation drydock.dev/model-folder of the Deployment's template, which no chart sets: an upgrade
neither conflicts with it nor takes it back. Compiled models of Neuron belong to the weights that they were compiled for.
*/ -}}
{{- define "vllm.followsFolder" -}}
{{- $mounted := has (include "vllm.source" .) (list "s3" "claim") -}}
{{- if and $mounted (ne .model.accelerator.kind "neuron") (not .model.multiNode.enabled) }}true{{ end -}}
{{- end -}}

{{- /*
vLLM knows NFS and Lustre as network file systems; Mountpoint for Amazon S3 is FUSE, whose pages it would fault in one by one. Reading
whole files takes three times the largest in each process (the file, its tensors, and those of the file before; measured with
safetensors 0.8). Files of the Hub have 5 GB, and without them vLLM takes about 3 GiB a process. What has less memory would be killed.
*/ -}}
{{- define "vllm.loadStrategy" -}}
{{- if and (eq (include "vllm.source" .) "s3") (ne .model.accelerator.kind "neuron") -}}
{{- $sizes := include "vllm.sizes" . | fromJson -}}
{{- $weights := include "vllm.mebibytes" .model.source.size | int64 -}}
{{- $replicas := int64 .model.engine.dataParallelSize -}}
{{- $kept := eq .model.accelerator.kind "none" | ternary (mul $replicas $weights) 0 | int64 -}}
{{- $ranks := mul $replicas (include "vllm.tensorParallelSize" . | int64) (include "vllm.pipelineParallelSize" . | int64) -}}
{{- $processes := max (int64 $sizes.devices) $ranks -}}
{{- if .model.multiNode.enabled }}{{ $processes = int64 $sizes.devices }}{{ end -}}
{{- $needed := add $kept (mul $processes (add 3072 (mul 3 (min $weights 4769)))) -}}
{{- if ge (sub (int64 $sizes.memory) (int64 $sizes.sharedMemory)) $needed }}eager{{ end -}}
{{- end -}}
{{- end -}}

{{- define "vllm.modelPath" -}}
{{- $source := include "vllm.source" . -}}
{{- if eq $source "huggingFace" -}}
{{- .model.source.huggingFace.id -}}
{{- else if and (eq $source "claim") .model.source.claim.path -}}
/model/{{ trimAll "/" .model.source.claim.path }}
{{- else -}}
/model
{{- end -}}
{{- end -}}

{{- define "vllm.servedName" -}}
{{- $side := include "vllm.side" . | default "{}" | fromJson -}}
{{- .model.engine.servedModelName | default ($side.router | default .name) -}}
{{- end -}}

{{- /* A replica's processes are as many as its devices have cores; the sizes that are left out make up for it. */ -}}
{{- define "vllm.tensorParallelSize" -}}
{{- $engine := .model.engine -}}
{{- $accelerator := .model.accelerator -}}
{{- $others := mul (include "vllm.pipelineParallelSize" . | int) (int $engine.dataParallelSize) -}}
{{- $cores := mul (int $accelerator.count) (int $accelerator.coresPerDevice) (include "vllm.nodes" . | int) -}}
{{- if eq $accelerator.kind "none" -}}
{{- kindIs "invalid" $engine.tensorParallelSize | ternary 1 $engine.tensorParallelSize | int -}}
{{- else if kindIs "invalid" $engine.tensorParallelSize -}}
{{- if mod $cores $others -}}
{{- fail (printf "models.%s.engine: pipelineParallelSize x dataParallelSize = %d does not divide accelerator.count x coresPerDevice%s = %d" .name $others (include "vllm.nodesPart" .) $cores) -}}
{{- end -}}
{{- div $cores $others -}}
{{- else -}}
{{- $used := mul (int $engine.tensorParallelSize) $others -}}
{{- if ne $used $cores -}}
{{- fail (printf "models.%s.engine.tensorParallelSize: the engine would run on %d devices (tensorParallelSize x pipelineParallelSize x dataParallelSize), and the pod has %d (accelerator.count x coresPerDevice%s): make them equal, or leave tensorParallelSize out" .name $used $cores (include "vllm.nodesPart" .)) -}}
{{- end -}}
{{- int $engine.tensorParallelSize -}}
{{- end -}}
{{- end -}}

{{- define "vllm.pipelineParallelSize" -}}
{{- kindIs "invalid" .model.engine.pipelineParallelSize | ternary (include "vllm.nodes" .) .model.engine.pipelineParallelSize | int -}}
{{- end -}}

{{- define "vllm.loraModules" -}}
{{- $modules := list -}}
{{- range $name := keys .model.engine.loraAdapters | sortAlpha -}}
{{- with get $.model.engine.loraAdapters $name -}}
{{- $path := .path -}}
{{- $source := include "vllm.source" $ -}}
{{- if hasPrefix "s3://" $path -}}
{{- $path = printf "/adapters/%s" $name -}}
{{- else if hasPrefix "./" $path -}}
{{- if eq $source "huggingFace" -}}
{{- fail (printf "models.%s.engine.loraAdapters.%s.path: %s is a folder of the model's volume, and a model of the Hub has none: set an id on the Hub" $.name $name $path) -}}
{{- end -}}
{{- $path = printf "/model/%s" (trimPrefix "./" $path) -}}
{{- else if ne $source "huggingFace" -}}
{{- fail (printf "models.%s.engine.loraAdapters.%s.path: the pod does not reach the Hub, because its model comes from elsewhere: set s3://BUCKET/FOLDER in place of %s, or put it into the model's volume and set a path that begins with ./" $.name $name $path) -}}
{{- end -}}
{{- $modules = append $modules (dict "name" $name "path" $path | toJson) -}}
{{- end -}}
{{- end -}}
{{- toJson $modules -}}
{{- end -}}

{{- define "vllm.loraRank" -}}
{{- $highest := 0 -}}
{{- range $name, $adapter := .model.engine.loraAdapters -}}
{{- with $adapter -}}
{{- $rank := int (.rank | default 0) -}}
{{- $most := $.model.engine.maxLoraRank -}}
{{- if and (not (kindIs "invalid" $most)) (gt $rank (int $most)) -}}
{{- fail (printf "models.%s.engine.loraAdapters.%s.rank: %d is above maxLoraRank %d, so vLLM would refuse the adapter: raise maxLoraRank, or leave it out" $.name $name $rank (int $most)) -}}
{{- end -}}
{{- $highest = max $highest $rank -}}
{{- end -}}
{{- end -}}
{{- if $highest -}}
{{- $fitting := list -}}
{{- range list 8 16 32 64 128 256 320 512 }}{{ if ge . (int $highest) }}{{ $fitting = append $fitting . }}{{ end }}{{ end -}}
{{- first $fitting -}}
{{- end -}}
{{- end -}}

{{- define "vllm.version" -}}
{{- if .model.image.vllmVersion -}}
{{- trimPrefix "v" .model.image.vllmVersion -}}
{{- else -}}
{{- regexFind "[0-9]+\\.[0-9]+\\.[0-9]+" (toString .model.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "vllm.known" -}}
{{- $version := include "vllm.version" . -}}
{{- if ne $version "unchecked" -}}
{{- $file := .root.Files.Get (printf "files/arguments/%s.yaml" $version) -}}
{{- if not $file -}}
{{- $releases := list -}}
{{- range $path, $_ := .root.Files.Glob "files/arguments/[0-9]*.yaml" }}{{ $releases = append $releases (base $path | trimSuffix ".yaml") }}{{ end -}}
{{- fail (printf "models.%s.image: the arguments of vLLM '%s' are not known here, only those of %s: set image.vllmVersion to the nearest of them, or to unchecked" .name $version ($releases | sortAlpha | join " and ")) -}}
{{- end -}}
{{- fromYaml $file | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "vllm.checkArgument" -}}
{{- $name := .name -}}
{{- $command := printf "vLLM %s" .version -}}
{{- with get .rules.refused $name -}}
{{- fail (printf "%s: --%s is not taken: %s" $.key $name .) -}}
{{- end -}}
{{- if .known -}}
{{- $switch := has $name .known.switch -}}
{{- $flag := has $name .known.flag -}}
{{- if not (or $switch $flag (has $name .known.value) (has $name .known.list)) -}}
{{- if has (trimPrefix "no-" $name) .known.switch -}}
{{- fail (printf "%s: set %s to false in its place" .key (trimPrefix "no-" $name)) -}}
{{- end -}}
{{- with get .rules.removed $name -}}
{{- fail (printf "%s: %s does not know --%s any more and would not start: %s" $.key $command $name .) -}}
{{- end -}}
{{- fail (printf "%s: %s does not know --%s and would not start: see `vllm serve --help=all` of that release, or set image.vllmVersion to unchecked for a build of your own" .key $command $name) -}}
{{- end -}}
{{- if ne (or $switch $flag) (kindIs "bool" .value) -}}
{{- fail (printf "%s: --%s of %s %s" .key $name $command (ternary "is turned on and off: set true or false" "needs a value, and true or false is not one" (or $switch $flag))) -}}
{{- end -}}
{{- if and $flag (not .value) -}}
{{- fail (printf "%s: --%s of %s can only be turned on: leave it out" .key $name $command) -}}
{{- end -}}
{{- with get .known.choices $name -}}
{{- $allowed := list -}}
{{- range . }}{{ $allowed = append $allowed (include "common.scalar" .) }}{{ end -}}
{{- if not (has (include "common.scalar" $.value) $allowed) -}}
{{- fail (printf "%s: '%s' is not accepted by --%s of %s: set one of %s" $.key (include "common.scalar" $.value) $name $command (join ", " $allowed)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vllm.spell" -}}
{{- $flag := printf "--%s" (index . 0) -}}
{{- $value := index . 1 -}}
{{- $words := list -}}
{{- if kindIs "bool" $value -}}
{{- $words = list (ternary $flag (printf "--no-%s" (index . 0)) $value) -}}
{{- else if kindIs "map" $value -}}
{{- $words = list (printf "%s=%s" $flag (toRawJson $value)) -}}
{{- else if kindIs "slice" $value -}}
{{- $words = list $flag -}}
{{- range $value }}{{ $words = append $words (kindIs "map" . | ternary (toRawJson .) (include "common.scalar" .)) }}{{ end -}}
{{- else -}}
{{- $words = list (printf "%s=%s" $flag (include "common.scalar" $value)) -}}
{{- end -}}
{{- toJson $words -}}
{{- end -}}
