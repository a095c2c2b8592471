// Generated from the migrated database by `deno task types`; not for editing.
export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  "public": {
    Tables: {
      "messenger_failed_messages": {
        Row: {
          "attempts": NonNullable<Json>;
          "body": NonNullable<Json>;
          "created_at": string;
          "created_by": string | null;
          "error": string | null;
          "error_class": string | null;
          "error_trace": string | null;
          "failed_at": string;
          "headers": NonNullable<Json>;
          "id": string;
          "idempotency_key": string | null;
          "max_retries": number;
          "message_id": string;
          "message_type": string;
          "metadata": NonNullable<Json>;
          "queue_name": string;
          "resolution": string | null;
          "resolved_at": string | null;
          "retry_count": number;
          "transport_name": string;
        };
        ComputedFields: never;
        Insert: {
          "attempts"?: NonNullable<Json>;
          "body": NonNullable<Json>;
          "created_at": string;
          "created_by"?: string | null;
          "error"?: string | null;
          "error_class"?: string | null;
          "error_trace"?: string | null;
          "failed_at"?: string;
          "headers"?: NonNullable<Json>;
          "id"?: string;
          "idempotency_key"?: string | null;
          "max_retries": number;
          "message_id": string;
          "message_type": string;
          "metadata"?: NonNullable<Json>;
          "queue_name": string;
          "resolution"?: string | null;
          "resolved_at"?: string | null;
          "retry_count": number;
          "transport_name": string;
        };
        Update: {
          "attempts"?: NonNullable<Json>;
          "body"?: NonNullable<Json>;
          "created_at"?: string;
          "created_by"?: string | null;
          "error"?: string | null;
          "error_class"?: string | null;
          "error_trace"?: string | null;
          "failed_at"?: string;
          "headers"?: NonNullable<Json>;
          "id"?: string;
          "idempotency_key"?: string | null;
          "max_retries"?: number;
          "message_id"?: string;
          "message_type"?: string;
          "metadata"?: NonNullable<Json>;
          "queue_name"?: string;
          "resolution"?: string | null;
          "resolved_at"?: string | null;
          "retry_count"?: number;
          "transport_name"?: string;
        };
        Relationships: [];
      };
      "messenger_messages": {
        Row: {
          "available_at": string;
          "body": NonNullable<Json>;
          "cancel_requested_at": string | null;
          "created_at": string;
          "created_by": string | null;
          "error_class": string | null;
          "expires_at": string | null;
          "fence": number;
          "headers": NonNullable<Json>;
          "id": string;
          "idempotency_key": string | null;
          "last_error": string | null;
          "lease_losses": number;
          "lock_expires_at": string | null;
          "locked_at": string | null;
          "locked_by": string | null;
          "max_retries": number;
          "message_type": string;
          "metadata": NonNullable<Json>;
          "ordering_key": string | null;
          "ordering_seq": number | null;
          "priority": number;
          "processed_at": string | null;
          "progress": Json | null;
          "queue_name": string;
          "result": Json | null;
          "retry_count": number;
          "scheduled_at": string | null;
          "status": string;
          "transport_name": string;
          "unrouted": (string)[] | null;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "available_at"?: string;
          "body"?: NonNullable<Json>;
          "cancel_requested_at"?: string | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "error_class"?: string | null;
          "expires_at"?: string | null;
          "fence"?: number;
          "headers"?: NonNullable<Json>;
          "id"?: string;
          "idempotency_key"?: string | null;
          "last_error"?: string | null;
          "lease_losses"?: number;
          "lock_expires_at"?: string | null;
          "locked_at"?: string | null;
          "locked_by"?: string | null;
          "max_retries"?: number;
          "message_type": string;
          "metadata"?: NonNullable<Json>;
          "ordering_key"?: string | null;
          "ordering_seq"?: number | null;
          "priority"?: number;
          "processed_at"?: string | null;
          "progress"?: Json | null;
          "queue_name"?: string;
          "result"?: Json | null;
          "retry_count"?: number;
          "scheduled_at"?: string | null;
          "status"?: string;
          "transport_name"?: string;
          "unrouted"?: (string)[] | null;
          "updated_at"?: string;
        };
        Update: {
          "available_at"?: string;
          "body"?: NonNullable<Json>;
          "cancel_requested_at"?: string | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "error_class"?: string | null;
          "expires_at"?: string | null;
          "fence"?: number;
          "headers"?: NonNullable<Json>;
          "id"?: string;
          "idempotency_key"?: string | null;
          "last_error"?: string | null;
          "lease_losses"?: number;
          "lock_expires_at"?: string | null;
          "locked_at"?: string | null;
          "locked_by"?: string | null;
          "max_retries"?: number;
          "message_type"?: string;
          "metadata"?: NonNullable<Json>;
          "ordering_key"?: string | null;
          "ordering_seq"?: number | null;
          "priority"?: number;
          "processed_at"?: string | null;
          "progress"?: Json | null;
          "queue_name"?: string;
          "result"?: Json | null;
          "retry_count"?: number;
          "scheduled_at"?: string | null;
          "status"?: string;
          "transport_name"?: string;
          "unrouted"?: (string)[] | null;
          "updated_at"?: string;
        };
        Relationships: [];
      };
      "messenger_schedules": {
        Row: {
          "body": NonNullable<Json>;
          "catch_up_limit": number;
          "created_at": string;
          "dst_gap": string;
          "dst_overlap": string;
          "enabled": boolean;
          "ends_at": string | null;
          "headers": NonNullable<Json>;
          "id": string;
          "jitter_ms": number;
          "last_error": string | null;
          "last_run_at": string | null;
          "max_runs": number | null;
          "message_type": string;
          "misfire": string;
          "misfire_grace_ms": number;
          "name": string;
          "next_run_at": string | null;
          "overlap": string;
          "queue_name": string;
          "run_count": number;
          "schedule_config": NonNullable<Json>;
          "schedule_type": string;
          "starts_at": string | null;
          "timezone": string;
          "transport_name": string;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "body"?: NonNullable<Json>;
          "catch_up_limit"?: number;
          "created_at"?: string;
          "dst_gap"?: string;
          "dst_overlap"?: string;
          "enabled"?: boolean;
          "ends_at"?: string | null;
          "headers"?: NonNullable<Json>;
          "id"?: string;
          "jitter_ms"?: number;
          "last_error"?: string | null;
          "last_run_at"?: string | null;
          "max_runs"?: number | null;
          "message_type": string;
          "misfire"?: string;
          "misfire_grace_ms"?: number;
          "name": string;
          "next_run_at"?: string | null;
          "overlap"?: string;
          "queue_name"?: string;
          "run_count"?: number;
          "schedule_config": NonNullable<Json>;
          "schedule_type": string;
          "starts_at"?: string | null;
          "timezone"?: string;
          "transport_name"?: string;
          "updated_at"?: string;
        };
        Update: {
          "body"?: NonNullable<Json>;
          "catch_up_limit"?: number;
          "created_at"?: string;
          "dst_gap"?: string;
          "dst_overlap"?: string;
          "enabled"?: boolean;
          "ends_at"?: string | null;
          "headers"?: NonNullable<Json>;
          "id"?: string;
          "jitter_ms"?: number;
          "last_error"?: string | null;
          "last_run_at"?: string | null;
          "max_runs"?: number | null;
          "message_type"?: string;
          "misfire"?: string;
          "misfire_grace_ms"?: number;
          "name"?: string;
          "next_run_at"?: string | null;
          "overlap"?: string;
          "queue_name"?: string;
          "run_count"?: number;
          "schedule_config"?: NonNullable<Json>;
          "schedule_type"?: string;
          "starts_at"?: string | null;
          "timezone"?: string;
          "transport_name"?: string;
          "updated_at"?: string;
        };
        Relationships: [];
      };
      "messenger_transports": {
        Row: {
          "config": NonNullable<Json>;
          "created_at": string;
          "enabled": boolean;
          "id": string;
          "name": string;
          "type": string;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "config"?: NonNullable<Json>;
          "created_at"?: string;
          "enabled"?: boolean;
          "id"?: string;
          "name": string;
          "type": string;
          "updated_at"?: string;
        };
        Update: {
          "config"?: NonNullable<Json>;
          "created_at"?: string;
          "enabled"?: boolean;
          "id"?: string;
          "name"?: string;
          "type"?: string;
          "updated_at"?: string;
        };
        Relationships: [];
      };
    };
    Views: {
      "messenger_failed_summary": {
        Row: {
          "failed_count": number | null;
          "first_failure": string | null;
          "last_failure": string | null;
          "queue_name": string;
          "transport_name": string;
        };
        ComputedFields: never;
        Relationships: [];
      };
      "messenger_queue_depth": {
        Row: {
          "message_count": number | null;
          "newest_message": string | null;
          "oldest_message": string | null;
          "queue_name": string;
          "status": string;
          "transport_name": string;
        };
        ComputedFields: never;
        Relationships: [];
      };
      "messenger_schedules_summary": {
        Row: {
          "enabled_count": number | null;
          "message_type": string;
          "next_run": string | null;
          "schedule_count": number | null;
          "schedule_type": string;
          "transport_name": string;
        };
        ComputedFields: never;
        Relationships: [];
      };
    };
    Functions: {
      "messenger_audit": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "invariant": string;
          "violations": number;
        }[];
      };
      "messenger_cancel": { Args: { "id": string }; Returns: string };
      "messenger_check_worker_secret": { Args: { "secret": string }; Returns: boolean };
      "messenger_claim": {
        Args: {
          "batch"?: number;
          "lease"?: string;
          "queues"?: (string)[];
          "transport"?: string;
          "types"?: (string)[];
          "worker": string;
        };
        Returns: {
          "body": Json;
          "created_at": string;
          "fence": number;
          "headers": Json;
          "id": string;
          "lock_expires_at": string;
          "max_retries": number;
          "message_type": string;
          "metadata": Json;
          "priority": number;
          "queue_name": string;
          "retry_count": number;
          "solo": boolean;
        }[];
      };
      "messenger_claim_one": {
        Args: { "id": string; "lease"?: string; "worker": string };
        Returns: {
          "body": Json;
          "created_at": string;
          "fence": number;
          "headers": Json;
          "id": string;
          "lock_expires_at": string;
          "max_retries": number;
          "message_type": string;
          "metadata": Json;
          "priority": number;
          "queue_name": string;
          "retry_count": number;
          "solo": boolean;
        }[];
      };
      "messenger_complete": {
        Args: { "fence": number; "id": string; "result"?: Json; "strict"?: boolean };
        Returns: string;
      };
      "messenger_complete_with": {
        Args: { "args"?: Json; "fence": number; "function_name": string; "id": string };
        Returns: Json;
      };
      "messenger_counters": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_disable_webhook": { Args: { "reason": string; "subscription": string }; Returns: boolean };
      "messenger_discard_failed": { Args: { "filter"?: Json; "ids"?: (string)[]; "max"?: number }; Returns: number };
      "messenger_dispatch": {
        Args: {
          "available_at"?: string;
          "delay"?: string;
          "expires_at"?: string;
          "headers"?: Json;
          "idempotency_key"?: string;
          "idempotency_mode"?: string;
          "idempotency_window"?: string;
          "max_retries"?: number;
          "metadata"?: Json;
          "ordering_key"?: string;
          "payload"?: Json;
          "priority"?: number;
          "queue"?: string;
          "transport"?: string;
          "type": string;
        };
        Returns: unknown[];
        SetofOptions: {
          from: "*";
          to: "dispatched";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "messenger_dispatch_batch": {
        Args: { "atomic"?: boolean; "messages": Json };
        Returns: {
          "available_at": string;
          "duplicate": boolean;
          "error": string;
          "error_code": string;
          "id": string;
          "ord": number;
          "queue": string;
          "status": string;
          "transport": string;
        }[];
      };
      "messenger_exchange": {
        Args: {
          "batch"?: number;
          "lease"?: string;
          "outcomes": Json;
          "queues"?: (string)[];
          "transport"?: string;
          "types"?: (string)[];
          "wait"?: string;
          "worker": string;
        };
        Returns: Json;
      };
      "messenger_explain": {
        Args: { "id": string };
        Returns: {
          "detail": string;
          "reason": string;
          "remedy": string;
        }[];
      };
      "messenger_fail": {
        Args: {
          "error": string;
          "error_class"?: string;
          "error_trace"?: string;
          "fence": number;
          "id": string;
          "retry_after"?: string;
          "retryable"?: boolean;
        };
        Returns: {
          "available_at": string;
          "outcome": string;
        }[];
      };
      "messenger_get_failed": { Args: { "id": string }; Returns: Json };
      "messenger_get_message": { Args: { "id": string }; Returns: Json };
      "messenger_health": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_heartbeat": {
        Args: { "lease"?: string; "leases": Json };
        Returns: {
          "cancel_requested": boolean;
          "id": string;
          "outcome": string;
        }[];
      };
      "messenger_import_cron": { Args: { "jobid": number }; Returns: Json };
      "messenger_list_failed": {
        Args: { "cursor"?: string; "filter"?: Json; "max"?: number; "skip"?: number };
        Returns: Json;
      };
      "messenger_list_messages": { Args: { "cursor"?: string; "filter"?: Json; "max"?: number }; Returns: Json };
      "messenger_list_queues": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_list_schedules": { Args: { "cursor"?: string; "filter"?: Json; "max"?: number }; Returns: Json };
      "messenger_list_transports": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_list_workers": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_metrics": { Args: { "from_time"?: string; "minutes"?: number; "to_time"?: string }; Returns: Json };
      "messenger_pause": { Args: { "queue": string; "transport": string }; Returns: boolean };
      "messenger_pause_schedule": { Args: { "name": string }; Returns: boolean };
      "messenger_put_transport": {
        Args: { "config"?: Json; "enabled"?: boolean; "name": string; "type"?: string };
        Returns: Json;
      };
      "messenger_register": { Args: { "types": Json }; Returns: number };
      "messenger_release": { Args: { "fence": number; "id": string }; Returns: string };
      "messenger_resume": { Args: { "queue": string; "transport": string }; Returns: boolean };
      "messenger_resume_schedule": { Args: { "name": string }; Returns: boolean };
      "messenger_retry_failed": {
        Args: { "filter"?: Json; "ids"?: (string)[]; "max"?: number; "payload"?: Json; "per_second"?: number };
        Returns: {
          "id": string;
          "message_id": string;
          "outcome": string;
        }[];
      };
      "messenger_schedule": {
        Args: {
          "name": string;
          "options"?: Json;
          "payload"?: Json;
          "schedule": Json;
          "timezone"?: string;
          "type": string;
        };
        Returns: {
          "body": NonNullable<Json>;
          "catch_up_limit": number;
          "created_at": string;
          "dst_gap": string;
          "dst_overlap": string;
          "enabled": boolean;
          "ends_at": string | null;
          "headers": NonNullable<Json>;
          "id": string;
          "jitter_ms": number;
          "last_error": string | null;
          "last_run_at": string | null;
          "max_runs": number | null;
          "message_type": string;
          "misfire": string;
          "misfire_grace_ms": number;
          "name": string;
          "next_run_at": string | null;
          "overlap": string;
          "queue_name": string;
          "run_count": number;
          "schedule_config": NonNullable<Json>;
          "schedule_type": string;
          "starts_at": string | null;
          "timezone": string;
          "transport_name": string;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "messenger_schedules";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "messenger_schedule_preview": {
        Args: { "count"?: number; "from_time"?: string; "options"?: Json; "schedule": Json; "timezone"?: string };
        Returns: {
          "local_time": string;
          "note": string;
          "run_at": string;
        }[];
      };
      "messenger_set_flag": { Args: { "name": string; "percent": number; "updated_by"?: string }; Returns: Json };
      "messenger_settle": {
        Args: { "outcomes": Json };
        Returns: {
          "available_at": string;
          "id": string;
          "outcome": string;
        }[];
      };
      "messenger_sign_webhook": {
        Args: { "body": string; "id": string; "subscription": string };
        Returns: {
          "signature": string;
          "signed_at": number;
          "url": string;
        }[];
      };
      "messenger_snooze": { Args: { "delay": string; "fence": number; "id": string }; Returns: string };
      "messenger_start": { Args: { "functions_url"?: string; "options"?: Json }; Returns: Json };
      "messenger_status": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_stop": { Args: Record<PropertyKey, never>; Returns: Json };
      "messenger_tick": { Args: { "batch"?: number }; Returns: Json };
      "messenger_unschedule": { Args: { "name": string }; Returns: boolean };
      "messenger_user_dispatch": {
        Args: {
          "delay"?: string;
          "headers"?: Json;
          "idempotency_key"?: string;
          "metadata"?: Json;
          "payload"?: Json;
          "type": string;
        };
        Returns: {
          "available_at": string;
          "duplicate": boolean;
          "id": string;
          "queue": string;
          "status": string;
          "transport": string;
        }[];
      };
      "messenger_verify": {
        Args: Record<PropertyKey, never>;
        Returns: {
          "detail": string;
          "kind": string;
          "object": string;
          "state": string;
        }[];
      };
      "messenger_worker_secret_digests": { Args: Record<PropertyKey, never>; Returns: (string)[] };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof (
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
    )
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals } ? (
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
  )[TableName] extends {
    Row: infer R;
  } ? R
  : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R;
    } ? R
    : never
  : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Insert: infer I;
  } ? I
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I;
    } ? I
    : never
  : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Update: infer U;
  } ? U
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U;
    } ? U
    : never
  : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never;

export const Constants = {
  "public": {
    Enums: {},
  },
} as const;
