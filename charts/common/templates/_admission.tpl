{{- /*
What an account may change beyond what RBAC can say, enforced by the API server. Declared helpers:
  common.admissionPolicy  a ValidatingAdmissionPolicy of some accounts, and its binding
  common.accountPolicy    one that lets only controllers start pods with the chart's accounts, and its binding
  common.admission.objects  the objects of both; takes `conditions` in place of users and accounts
  common.account          user name of a ServiceAccount of the release's namespace; takes (tuple ROOT NAME)
*/ -}}

{{- define "common.account" -}}
system:serviceaccount:{{ (index . 0).Release.Namespace }}:{{ index . 1 }}
{{- end -}}

{{- /*
Usage: include "common.admissionPolicy" (dict "root" . "name" NAME "component" NAME "users" (list USER...) "rules" LIST "validations" LIST)
"rules" are resource rules of a policy, "validations" are `expression` and `message`. Requests of other users pass.
*/ -}}
{{- define "common.admissionPolicy" -}}
{{- include "common.checkCall" (tuple "common.admissionPolicy" . (list "root" "name" "component" "users" "rules" "validations")) -}}
{{- $condition := dict "name" "account" "expression" (printf "request.userInfo.username in %s" (toJson .users)) -}}
{{- include "common.admission.objects" (merge (dict "conditions" (list $condition)) .) -}}
{{- end -}}

{{- /*
Usage: include "common.accountPolicy" (dict "root" . "accounts" (list NAME...) "controllers" (list USER...))
A pod runs as any account of its namespace that it names. So any user who may create pods there could take over these accounts.
*/ -}}
{{- define "common.accountPolicy" -}}
{{- include "common.checkCall" (tuple "common.accountPolicy" . (list "root" "accounts" "controllers")) -}}
{{- $namespace := .namespace | default .root.Release.Namespace -}}
{{- $named := printf "has(object.spec.serviceAccountName) && object.spec.serviceAccountName in %s" (toJson .accounts) -}}
{{- $conditions := list (dict "name" "namespace" "expression" (printf "request.namespace == %s" (quote $namespace))) (dict "name" "account" "expression" $named) -}}
{{- $may := "authorizer.group('').resource('serviceaccounts').namespace(request.namespace).name(object.spec.serviceAccountName).check('impersonate').allowed()" -}}
{{- $expression := printf "request.userInfo.username in %s || %s" (toJson .controllers) $may -}}
{{- $validations := list (dict "expression" $expression "message" "this ServiceAccount is the platform's: only its own controllers start pods with it") -}}
{{- $rules := list (dict "apiGroups" (list "") "apiVersions" (list "v1") "resources" (list "pods") "operations" (list "CREATE")) -}}
{{- include "common.admission.objects" (dict "root" .root "name" "accounts" "component" "accounts" "conditions" $conditions "rules" $rules "validations" $validations) -}}
{{- end -}}

{{- define "common.admission.objects" -}}
{{- $name := printf "%s-%s" .root.Release.Namespace (include "common.componentName" (tuple .root .name)) -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      {{- toYaml .rules | nindent 6 }}
  matchConditions:
    {{- toYaml .conditions | nindent 4 }}
  validations:
    {{- toYaml .validations | nindent 4 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end -}}
