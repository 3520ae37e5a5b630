{{- /*
From "2 NVIDIA GPUs of pool gpu" to what a pod says. Declared helpers:
  common.nodeLabel                 a node label of Karpenter, under the name that Auto Mode gives it when it runs the nodes
  common.accelerator.resourceName  extended resource of a kind, empty for none
  common.accelerator.tolerations   tolerations of the taints that every pool of a kind carries
  common.accelerator.share         extended resource of the share that is asked for, empty for whole devices
  common.accelerator.byMps         "true" for a share by MPS, whose /dev/shm the device plugin mounts; takes (tuple ROOT ACCELERATOR)
  common.accelerator.claimed       "true" when the devices come by a claim in place of an extended resource
  common.accelerator.resources     the container's resources
  common.accelerator.scheduling    the pod's nodeSelector, affinity and tolerations
  common.accelerator.affinity      a user's affinity, narrowed to the nodes of the accelerator
  common.accelerator               all of them as one document: resources, nodeSelector, affinity, tolerations
  common.accelerator.schedulerName the scheduler of pods that need neighbouring devices, empty for the cluster's own

ACCELERATOR is a map:
  kind           nvidia, neuron or none
  count          whole devices: GPUs, or Neuron devices (an inf2.xlarge has 1, a trn2.48xlarge 16)
  pool           optional: name of the node pool; any pool that offers the rest when absent
  gpuNames       optional: GPU models as Karpenter spells them, any of them will do, such as [l4, a10g]
  instanceTypes  optional: EC2 instance types, any of them will do
  dynamicResourceAllocation
                 optional: true for a claim, `accelerator`, of devices; the pod's resourceClaims name a template for it
  share          optional: sharing profile, an entry of nvidia-device-plugin.configs, that the nodes' pool names too; the pod
                 gets one share of a GPU, under the resource name that global.gpuSharing has for the profile
  efa            optional: Elastic Fabric Adapters, for pods that work together over several nodes
  hugepages      optional: huge pages of 2 MiB as a quantity, such as 5120Mi
*/ -}}

{{- /* Usage: include "common.nodeLabel" (tuple . "karpenter.k8s.aws/instance-gpu-name") */ -}}
{{- define "common.nodeLabel" -}}
{{- if or (not (kindIs "slice" .)) (ne (len .) 2) -}}
{{- fail "common.nodeLabel: call it with (tuple ROOT LABEL)" -}}
{{- end -}}
{{- if include "common.autoMode" (index . 0) -}}
{{- regexReplaceAll "^karpenter\\.k8s\\.aws/instance-" (index . 1) "eks.amazonaws.com/instance-" -}}
{{- else -}}
{{- regexReplaceAll "^eks\\.amazonaws\\.com/instance-" (index . 1) "karpenter.k8s.aws/instance-" -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.accelerator.resourceName" "nvidia" */ -}}
{{- define "common.accelerator.resourceName" -}}
{{- if eq . "nvidia" -}}nvidia.com/gpu
{{- else if eq . "neuron" -}}aws.amazon.com/neuron
{{- else if ne . "none" -}}
{{- fail (printf "accelerator.kind '%s' is unknown: set nvidia, neuron or none" .) -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.accelerator.tolerations" "nvidia". A pool's taint is named after the resource it offers. */ -}}
{{- define "common.accelerator.tolerations" -}}
{{- with include "common.accelerator.resourceName" . -}}
- key: {{ . }}
  operator: Exists
  effect: NoSchedule
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.accelerator.share" (tuple . ACCELERATOR) */ -}}
{{- define "common.accelerator.share" -}}
{{- $root := index . 0 -}}
{{- $accelerator := index . 1 -}}
{{- with $accelerator.share -}}
{{- if ne $accelerator.kind "nvidia" -}}
{{- fail (printf "accelerator.share '%s': only NVIDIA GPUs are shared: set accelerator.kind to nvidia, or leave share empty" .) -}}
{{- end -}}
{{- if ne 1 (int ($accelerator.count | default 1)) -}}
{{- fail (printf "accelerator.share '%s': more shares are not more of a GPU, so the device plugin refuses them: set accelerator.count to 1, not %d" . (int $accelerator.count)) -}}
{{- end -}}
{{- if include "common.autoMode" $root -}}
{{- fail (printf "accelerator.share '%s': the device plugin of EKS Auto Mode shares no GPUs: leave share empty, or run Karpenter and set global.autoMode.enabled to false" .) -}}
{{- end -}}
{{- get (($root.Values.global | default dict).gpuSharing | default dict) . | default "nvidia.com/gpu" -}}
{{- end -}}
{{- end -}}

{{- /* A volume of the pod on /dev/shm would hide the daemon's. */ -}}
{{- define "common.accelerator.byMps" -}}
{{- with (index . 1).share -}}
{{- if get (((index $ 0).Values.global | default dict).mpsSharing | default dict) . }}true{{ end -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.accelerator.claimed" ACCELERATOR */ -}}
{{- define "common.accelerator.claimed" -}}
{{- if .dynamicResourceAllocation -}}
{{- if ne .kind "nvidia" -}}
{{- fail "accelerator.dynamicResourceAllocation: it is for NVIDIA GPUs: set accelerator.kind to nvidia, or dynamicResourceAllocation to false" -}}
{{- end -}}
{{- if .share -}}
{{- fail (printf "accelerator: share '%s' needs the device plugin, which dynamicResourceAllocation replaces: set one of them" .share) -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{- /*
Usage: include "common.accelerator.resources" (dict "root" . "accelerator" ACCELERATOR ["resources" RESOURCES])
RESOURCES are the container's other requests and limits. The request of an extended resource and of huge pages equals the
limit; both are written, because the API server would add the request and a GitOps tool would then see a difference.
*/ -}}
{{- define "common.accelerator.resources" -}}
{{- include "common.checkCall" (tuple "common.accelerator.resources" . (list "root" "accelerator")) -}}
{{- $resources := deepCopy (.resources | default dict) -}}
{{- $extended := dict -}}
{{- if include "common.accelerator.claimed" .accelerator -}}
{{- $_ := set $resources "claims" (list (dict "name" "accelerator")) -}}
{{- else -}}
{{- with include "common.accelerator.share" (tuple .root .accelerator) | default (include "common.accelerator.resourceName" .accelerator.kind) -}}
{{- $count := int ($.accelerator.count | default 0) -}}
{{- if lt $count 1 -}}
{{- fail (printf "accelerator.kind %s needs accelerator.count of 1 or more, not %d; set kind none for a pod without" $.accelerator.kind $count) -}}
{{- end -}}
{{- $_ := set $extended . (toString $count) -}}
{{- end -}}
{{- end -}}
{{- with .accelerator.efa }}{{ $_ := set $extended "vpc.amazonaws.com/efa" (int . | toString) }}{{ end -}}
{{- with .accelerator.hugepages }}{{ $_ := set $extended "hugepages-2Mi" . }}{{ end -}}
{{- if $extended -}}
{{- $_ := set $resources "requests" (merge (dict) $extended (get $resources "requests" | default dict)) -}}
{{- $_ := set $resources "limits" (merge (dict) $extended (get $resources "limits" | default dict)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- /*
Usage: include "common.accelerator.scheduling"
         (dict "root" . "accelerator" ACCELERATOR ["nodeSelector" MAP] ["affinity" AFFINITY] ["tolerations" LIST])
The optional ones are a user's own. They are added to: a user's node affinity keeps each of its terms, narrowed to the
accelerator's nodes. Models of GPUs and types of instance are asked for unless the user's nodeSelector is that of hybrid nodes.
*/ -}}
{{- define "common.accelerator.scheduling" -}}
{{- include "common.checkCall" (tuple "common.accelerator.scheduling" . (list "root" "accelerator")) -}}
{{- $accelerator := .accelerator -}}
{{- $nodeSelector := deepCopy (.nodeSelector | default dict) -}}
{{- with $accelerator.pool -}}
{{- $_ := set $nodeSelector "karpenter.sh/nodepool" . -}}
{{- end -}}
{{- $expressions := list -}}
{{- /* Nodes outside of EC2 have no label for either. */ -}}
{{- if ne "hybrid" (get $nodeSelector "eks.amazonaws.com/compute-type") -}}
{{- with $accelerator.gpuNames -}}
{{- $label := include "common.nodeLabel" (tuple $.root "karpenter.k8s.aws/instance-gpu-name") -}}
{{- $expressions = append $expressions (dict "key" $label "operator" "In" "values" .) -}}
{{- end -}}
{{- with $accelerator.instanceTypes -}}
{{- $expressions = append $expressions (dict "key" "node.kubernetes.io/instance-type" "operator" "In" "values" .) -}}
{{- end -}}
{{- end -}}
{{- $tolerations := include "common.accelerator.tolerations" $accelerator.kind | fromYamlArray -}}
{{- if include "common.accelerator.claimed" $accelerator -}}
{{- $expressions = append $expressions (dict "key" "drydock.dev/nvidia-device-plugin" "operator" "In" "values" (list "none")) -}}
{{- end -}}
{{- with $accelerator.share -}}
{{- $label := "nvidia.com/device-plugin.config" -}}
{{- $expressions = append $expressions (dict "key" $label "operator" "In" "values" (list .)) -}}
{{- $tolerations = append $tolerations (dict "key" $label "operator" "Equal" "value" . "effect" "NoSchedule") -}}
{{- end -}}
{{- $scheduling := dict -}}
{{- if $nodeSelector -}}
{{- $_ := set $scheduling "nodeSelector" $nodeSelector -}}
{{- end -}}
{{- with include "common.accelerator.affinity" (tuple (.affinity | default dict) $expressions) | fromYaml -}}
{{- $_ := set $scheduling "affinity" . -}}
{{- end -}}
{{- with concat $tolerations (.tolerations | default list) | uniq -}}
{{- $_ := set $scheduling "tolerations" . -}}
{{- end -}}
{{- if $scheduling -}}
{{- toYaml $scheduling -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.accelerator.affinity" (tuple AFFINITY EXPRESSIONS): AFFINITY with the expressions in every required term. */ -}}
{{- define "common.accelerator.affinity" -}}
{{- $affinity := deepCopy (index . 0) -}}
{{- $expressions := index . 1 -}}
{{- if $expressions -}}
{{- $node := get $affinity "nodeAffinity" | default dict -}}
{{- $required := get $node "requiredDuringSchedulingIgnoredDuringExecution" | default dict -}}
{{- $terms := list -}}
{{- range $term := get $required "nodeSelectorTerms" | default (list dict) -}}
{{- $own := get $term "matchExpressions" | default list -}}
{{- $terms = append $terms (set (deepCopy $term) "matchExpressions" (concat $own $expressions)) -}}
{{- end -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- if $affinity -}}
{{- toYaml $affinity -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.accelerator" (dict "root" . "accelerator" ACCELERATOR ...) | fromYaml, with what the two above take. */ -}}
{{- define "common.accelerator" -}}
{{- $scheduling := include "common.accelerator.scheduling" . | fromYaml -}}
{{- toYaml (set $scheduling "resources" (include "common.accelerator.resources" . | fromYaml)) -}}
{{- end -}}

{{- /* Usage: include "common.accelerator.schedulerName" (tuple . ACCELERATOR) */ -}}
{{- define "common.accelerator.schedulerName" -}}
{{- $accelerator := index . 1 -}}
{{- if and (eq $accelerator.kind "neuron") (gt (int $accelerator.count) 1) -}}
{{- include "common.global" (tuple (index . 0) "neuronScheduler") -}}
{{- end -}}
{{- end -}}
