// The database's types in the format of Supabase's generator: what the doors call and read.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

type Dispatched = {
  id: string;
  duplicate: boolean;
  status: string;
  transport: string;
  queue: string;
  available_at: string;
};

type Claimed = {
  id: string;
  message_type: string;
  queue_name: string;
  body: Json;
  headers: Json;
  metadata: Json;
  priority: number;
  retry_count: number;
  max_retries: number;
  fence: number;
  lock_expires_at: string;
  created_at: string;
  solo: boolean;
};

type Settled = { id: string; outcome: string; available_at: string };

export type Database = {
  public: {
    Tables: {
      messenger_messages: {
        Row: {
          id: string;
          transport_name: string;
          queue_name: string;
          message_type: string;
          body: Json;
          headers: Json;
          metadata: Json;
          priority: number;
          status: string;
          scheduled_at: string | null;
          available_at: string;
          expires_at: string | null;
          created_at: string;
          processed_at: string | null;
          updated_at: string;
          retry_count: number;
          max_retries: number;
          last_error: string | null;
          error_class: string | null;
          fence: number;
          locked_at: string | null;
          locked_by: string | null;
          lock_expires_at: string | null;
          lease_losses: number;
          cancel_requested_at: string | null;
          idempotency_key: string | null;
          ordering_key: string | null;
          ordering_seq: number | null;
          result: Json | null;
          progress: Json | null;
          created_by: string | null;
        };
        Insert: Record<string, unknown>;
        Update: Record<string, unknown>;
        Relationships: [];
      };
      messenger_transports: {
        Row: {
          id: string;
          name: string;
          type: string;
          config: Json;
          enabled: boolean;
          created_at: string;
          updated_at: string;
        };
        Insert: Record<string, unknown>;
        Update: Record<string, unknown>;
        Relationships: [];
      };
    };
    Views: Record<never, never>;
    Functions: {
      messenger_dispatch_batch: {
        Args: { messages: Json; atomic?: boolean };
        Returns: (Dispatched & { ord: number; error_code: string; error: string })[];
      };
      messenger_user_dispatch: {
        Args: {
          type: string;
          payload?: Json;
          idempotency_key?: string;
          delay?: unknown;
          headers?: Json;
          metadata?: Json;
        };
        Returns: Dispatched[];
      };
      messenger_register: { Args: { types: Json }; Returns: number };
      messenger_claim: {
        Args: {
          worker: string;
          batch?: number;
          lease?: unknown;
          transport?: string;
          queues?: string[];
          types?: string[];
        };
        Returns: Claimed[];
      };
      messenger_claim_one: { Args: { id: string; worker: string; lease?: unknown }; Returns: Claimed[] };
      messenger_heartbeat: {
        Args: { leases: Json; lease?: unknown };
        Returns: { id: string; outcome: string; cancel_requested: boolean }[];
      };
      messenger_settle: { Args: { outcomes: Json }; Returns: Settled[] };
      messenger_exchange: {
        Args: {
          outcomes: Json;
          worker: string;
          batch?: number;
          lease?: unknown;
          transport?: string;
          queues?: string[];
          types?: string[];
        };
        Returns: Json;
      };
      messenger_tick: { Args: { batch?: number }; Returns: Json };
      messenger_check_worker_secret: { Args: { secret: string }; Returns: boolean };
    };
    Enums: Record<never, never>;
    CompositeTypes: Record<never, never>;
  };
};
